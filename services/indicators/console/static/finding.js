// Sends what a person decides about a finding to classification, which owns it, and asks it for precedents, chains and the size of it.

const root = /** @type {HTMLElement} */ (document.getElementById("finding"));
const lang = document.documentElement.lang;
const { locale, dates } = document.documentElement.dataset; // numbers and dates as the server writes them
/** @type {Record<string, string>} */
const texts = JSON.parse(root.dataset.texts ?? "{}");
const id = encodeURIComponent(root.dataset.id ?? "");
const base = "/classification/v1";
/** @param {string} name @param {Record<string, unknown>} [values] */
const say = (name, values = {}) => (texts[name] ?? name).replace(/\{(\w+)\}/g, (_, key) => String(values[key] ?? ""));
/** @param {string} tag @param {string} name @param {string} [words] */
function make(tag, name, words) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (words !== undefined) element.textContent = words;
  return element;
}
/** @param {number} value @param {number} [digits] */
const number = (value, digits = 0) => new Intl.NumberFormat(locale, { maximumFractionDigits: digits }).format(value);

/** @param {string} words */
function tell(words) {
  const told = document.getElementById("told");
  if (!told) return;
  told.hidden = false;
  told.textContent = words;
}

/** What a form says, as the API takes it. @param {string} name @param {FormData} form */
function body(name, form) {
  const given = Object.fromEntries([...form].map(([key, value]) => [key, String(value).trim()]).filter(([, value]) => value));
  if (name === "plan-action") {
    const { reduction, window_days: days, ...rest } = given;
    return { ...rest, expected_ratio: (100 - Number(reduction)) / 100, window_days: Number(days) };
  }
  if (name !== "investigate") return given;
  const whys = [1, 2, 3, 4, 5].filter((n) => given[`why${n}`]);
  const nodes = whys.map((n, place) => ({
    node_id: String(place + 1),
    ...(place ? { parent: String(place) } : {}),
    text: given[`why${n}`],
    ...(given[`component${n}`] ? { component: given[`component${n}`] } : {}),
    root: place === whys.length - 1,
  }));
  return { method: "five_whys", nodes, ...(given.conclusion ? { conclusion: given.conclusion } : {}) };
}

/** The pages read what the log tells them; this one waits until it was told. */
async function seen() {
  for (let tries = 0; tries < 40; tries++) {
    await new Promise((done) => setTimeout(done, 250));
    const answer = await fetch(location.href, { cache: "no-store" });
    const known = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("finding");
    if (known && known.dataset.events !== root.dataset.events) return;
  }
}

for (const form of root.querySelectorAll("form[data-do]")) {
  const key = crypto.randomUUID?.() ?? String(Math.random());
  let tries = 0;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const name = /** @type {HTMLElement} */ (form).dataset.do ?? "";
    const button = /** @type {HTMLButtonElement} */ (form.querySelector("button"));
    button.disabled = true;
    tell(say("do.saving"));
    try {
      const answer = await fetch(`${base}/findings/${id}/${name}`, {
        method: "POST",
        headers: { "Content-Type": "application/json", "Accept-Language": lang, "X-CSRF-Token": root.dataset.csrf ?? "", "Idempotency-Key": `${key}-${tries}` },
        body: JSON.stringify(body(name, new FormData(/** @type {HTMLFormElement} */ (form)))),
      });
      const said = await answer.json().catch(() => ({}));
      if (!answer.ok) {
        tries += 1;
        tell(say("do.failed", { detail: said.detail ?? said.title ?? String(answer.status) }));
        return;
      }
      tell(say("do.saved"));
      await seen();
      location.reload();
    } catch (error) {
      tell(say("do.failed", { detail: /** @type {Error} */ (error).message }));
    } finally {
      button.disabled = false;
    }
  });
}

/** @param {string} path */
async function ask(path) {
  const answer = await fetch(`${base}${path}`, { headers: { "Accept-Language": lang } });
  return answer.ok ? answer.json() : null;
}

/** @param {any} item */
function precedent(item) {
  const card = make("article", "action");
  const head = make("p", "");
  const link = /** @type {HTMLAnchorElement} */ (make("a", "", item.title[lang] ?? item.finding_id));
  link.href = `/findings/${encodeURIComponent(item.finding_id)}`;
  head.append(link);
  const worked = item.worked === null ? (item.actions.length ? "unknown" : "nothing") : item.worked ? "worked" : "failed";
  const when = new Date(item.opened_at).toLocaleDateString(dates, { dateStyle: "medium" });
  const same = item.same.map((/** @type {string} */ name) => texts[`same.${name}`] ?? name).join(", ");
  card.append(head, make("p", "soft small", `${when} · ${texts[`phase.${item.status}`] ?? item.status} · ${say("finding.precedent_alike", { n: same })}`));
  for (const action of item.actions) {
    const judged = action.judgement ? ` · ${texts[`judgement.${action.judgement}`] ?? action.judgement}` : "";
    card.append(make("p", "", `${action.description}${judged}`));
  }
  card.append(make("p", "", say(`finding.precedent_${worked}`)));
  return card;
}

const before = document.getElementById("precedents");
ask(`/findings/${id}/precedents`)
  .catch(() => null)
  .then((found) => {
    if (found === null) before?.replaceChildren(make("p", "soft", say("finding.precedents_away")));
    else if (!found.items.length) before?.replaceChildren(make("p", "soft", say("finding.precedents_none")));
    else before?.replaceChildren(...found.items.slice(0, 5).map(precedent));
  });

const size = document.getElementById("dossier");
ask(`/findings/${id}/dossier`)
  .catch(() => null)
  .then((found) => {
    const list = make("ul", "steps");
    list.append(...(found?.sentences ?? []).map((/** @type {string} */ words) => make("li", "", words)));
    size?.replaceChildren(found ? list : make("p", "soft", say("finding.precedents_away")));
  });

const back = document.getElementById("chains");
ask(`/chains?finding=${id}&since=2000-01-01T00:00:00Z&least=2&limit=1`)
  .catch(() => null)
  .then((found) => {
    const words = !found ? say("finding.precedents_away") : found.chains ? say("finding.chains_lead", { customers: number(found.customers), contacts: number(found.contacts_in_chains) }) : say("finding.chains_none");
    back?.replaceChildren(make("p", "soft", words));
  });
