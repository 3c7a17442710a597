// Asks classification for the chains, and shows them with the rulebook's names.

const root = /** @type {HTMLElement} */ (document.getElementById("chains"));
const lang = document.documentElement.lang;
/** @type {Record<string, string>} */
const texts = JSON.parse(root.dataset.texts ?? "{}");
/** @type {Record<string, Record<string, string>>} */
const names = JSON.parse(root.dataset.names ?? "{}");
/** @param {string} id @returns {any} */
const at = (id) => document.getElementById(id);
/** @param {number | null} value @param {number} [digits] */
const number = (value, digits = 0) => (value === null ? "–" : new Intl.NumberFormat(lang, { maximumFractionDigits: digits }).format(value));
/** @param {string} dimension @param {string} code */
const named = (dimension, code) => names[dimension]?.[code] ?? names.channel?.[code] ?? code;

/** @type {string | null} */
let cursor = null;

/** @param {any} item */
function row(item) {
  const line = document.createElement("tr");
  const who = document.createElement("th");
  who.scope = "row";
  const link = document.createElement("a");
  link.href = `/customers/${encodeURIComponent(item.customer_id)}`;
  link.textContent = item.customer_id.slice(0, 12);
  who.append(link);
  line.append(who);
  const path = item.touchpoints.map((/** @type {string} */ code) => named("touchpoint", code)).join(" → ");
  const last = new Date(item.last_at).toLocaleDateString(lang, { dateStyle: "medium" });
  for (const [text, kind] of [[named("motive", item.motive), ""], [number(item.contacts), "num"], [number(item.days, 1), "num"], [last, ""], [path, ""]]) {
    const cell = document.createElement("td");
    cell.textContent = text;
    if (kind) cell.className = kind;
    line.append(cell);
  }
  return line;
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

at("more").addEventListener("click", more);
more();
