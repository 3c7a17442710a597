// Asks classification for the chains and for relations at risk, and shows them with the rulebook's names.

const root = /** @type {HTMLElement} */ (document.getElementById("chains"));
const lang = document.documentElement.lang;
const { locale, dates } = document.documentElement.dataset; // numbers and dates as the server writes them
/** @type {Record<string, string>} */
const texts = JSON.parse(root.dataset.texts ?? "{}");
/** @type {Record<string, Record<string, string>>} */
const names = JSON.parse(root.dataset.names ?? "{}");
/** @param {string} id @returns {any} */
const at = (id) => document.getElementById(id);
/** @param {number | null} value @param {number} [digits] */
const number = (value, digits = 0) => (value === null ? "–" : new Intl.NumberFormat(locale, { maximumFractionDigits: digits }).format(value));
/** @param {string} dimension @param {string} code */
const named = (dimension, code) => names[dimension]?.[code] ?? names.channel?.[code] ?? code;

/** @type {string | null} */
let cursor = null;

/** A line that begins with its customer, and the cells behind. @param {string} customer @param {string[][]} cells */
function lined(customer, cells) {
  const line = document.createElement("tr");
  const who = document.createElement("th");
  who.scope = "row";
  const link = document.createElement("a");
  link.href = `/customers/${encodeURIComponent(customer)}`;
  link.textContent = customer.slice(0, 12);
  who.append(link);
  line.append(who);
  for (const [text, kind] of cells) {
    const cell = document.createElement("td");
    cell.textContent = text ?? "";
    if (kind) cell.className = kind;
    line.append(cell);
  }
  return line;
}
/** @param {string} moment */
const dayOf = (moment) => new Date(moment).toLocaleDateString(dates, { dateStyle: "medium" });

/** @param {any} item */
function row(item) {
  const path = item.touchpoints.map((/** @type {string} */ code) => named("touchpoint", code)).join(" → ");
  return lined(item.customer_id, [[named("motive", item.motive)], [number(item.contacts), "num"], [number(item.days, 1), "num"], [dayOf(item.last_at)], [path]]);
}

async function more() {
  const asked = new URLSearchParams({ limit: "50" });
  const finding = new URLSearchParams(location.search).get("finding");
  if (finding) asked.set("finding", finding);
  if (finding) asked.set("since", "2000-01-01T00:00:00Z");
  if (cursor) asked.set("cursor", cursor);
  const answer = await fetch(`/classification/v1/chains?${asked}`, { headers: { "Accept-Language": lang } });
  const page = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    at("told").textContent = (texts["chains.away"] ?? "").replace("{detail}", page.detail ?? page.title ?? String(answer.status));
    return;
  }
  const measures = { count: number(page.chains), customers: number(page.customers), share: page.share === null ? "–" : `${number(page.share * 100, 1)} %`, longest: number(page.longest), median: number(page.median_length, 1), days: number(page.median_days, 1) };
  for (const [name, text] of Object.entries(measures)) {
    const cell = root.querySelector(`[data-of="${name}"]`);
    if (cell) cell.textContent = text;
  }
  at("told").textContent = page.chains ? "" : texts["chains.none"] ?? "";
  at("told").hidden = Boolean(page.chains);
  at("measures").hidden = false;
  at("list").hidden = !page.chains;
  at("rows").append(...page.items.map(row));
  cursor = page.next;
  at("more").hidden = !cursor;
}

/** @type {string | null} */
let further = null;

/** Relations at risk are of everybody: not of one finding. */
async function risks() {
  if (new URLSearchParams(location.search).get("finding")) return;
  const asked = new URLSearchParams({ limit: "50", ...(further ? { cursor: further } : {}) });
  const answer = await fetch(`/classification/v1/relations-at-risk?${asked}`, { headers: { "Accept-Language": lang } });
  const page = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    at("told").hidden = false;
    at("told").textContent = (texts["chains.away"] ?? "").replace("{detail}", page.detail ?? page.title ?? String(answer.status));
    return;
  }
  at("risks").hidden = false;
  at("risked").textContent = page.customers ? (texts["chains.risk_lead"] ?? "").replace("{answered}", number(page.answered)) : (texts["chains.risk_none"] ?? "");
  at("risk-table").hidden = !page.customers;
  /** @param {any} item */
  const shown = (item) => lined(item.customer_id, [[item.segment_name ?? "–"], [dayOf(item.last_at)], [item.signals.map((/** @type {any} */ each) => each.sentence).join(" ")]]);
  at("risk-rows").append(...page.items.map(shown));
  further = page.next;
  at("more-risks").hidden = !further;
}

at("more").addEventListener("click", more);
at("more-risks").addEventListener("click", risks);
more();
risks();
