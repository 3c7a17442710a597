// Asks each service for its state, lists what intake could not read, and sends commands to the service that owns them.

const root = /** @type {HTMLElement} */ (document.getElementById("quarantine"));
const told = /** @type {HTMLElement} */ (document.getElementById("told"));
const text = root.dataset;

/** @param {string} words */
function tell(words) {
  told.hidden = false;
  told.textContent = words;
}

for (const row of root.querySelectorAll("[data-service]")) {
  const service = /** @type {HTMLElement} */ (row).dataset.service;
  fetch(`/${service}/v1/status`)
    .then(async (answer) => (answer.ok ? answer.json() : answer.text().then(() => null)))
    .catch(() => null)
    .then((state) => {
      for (const cell of row.querySelectorAll("[data-of]")) {
        const name = /** @type {HTMLElement} */ (cell).dataset.of ?? "";
        const value = state?.[name];
        cell.textContent = state === null ? (name === "behind" ? (text.away ?? "") : "–") : name === "oldest_seconds" ? `${Math.round(value ?? 0)} s` : new Intl.NumberFormat(document.documentElement.dataset.locale).format(value);
      }
    });
}

/** @param {string} tag @param {string} name @param {string} [words] */
function make(tag, name, words) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (words !== undefined) element.textContent = words;
  return element;
}

/** @param {any} item */
function delivery(item) {
  const card = make("article", "contact");
  const head = make("header", "");
  head.append(make("span", "tag", item.source), make("span", "soft", item.adapter));
  const when = make("time", "soft push", new Date(item.received_at).toLocaleString(document.documentElement.dataset.dates, { dateStyle: "medium", timeStyle: "short" }));
  when.setAttribute("datetime", item.received_at);
  head.append(when);
  const foot = make("footer", "");
  foot.append(make("span", "soft small", (text.attempts ?? "").replace("{n}", String(item.attempts))));
  const links = make("span", "push links");
  for (const act of ["replay", "discard"]) {
    const button = make("button", "", act === "replay" ? text.replay : text.discard);
    button.dataset.act = act;
    button.dataset.at = `/intake/v1/quarantine/${encodeURIComponent(item.id)}`;
    links.append(button);
  }
  foot.append(links);
  card.append(head);
  for (const error of item.errors ?? []) card.append(make("p", "error-text", error.detail ?? error.code));
  card.append(foot);
  return card;
}

const list = /** @type {HTMLElement} */ (document.getElementById("deliveries"));
fetch("/intake/v1/quarantine?limit=100")
  .then(async (answer) => {
    if (answer.ok) return answer.json();
    throw new Error(`${answer.status} ${await answer.text()}`);
  })
  .then((page) => list.replaceChildren(...(page.items.length ? page.items.map(delivery) : [make("p", "soft", text.intakeEmpty)])))
  .catch(() => list.replaceChildren(make("p", "soft", text.intakeAway)));

root.addEventListener("click", async (event) => {
  const button = /** @type {HTMLElement} */ (event.target).closest("[data-act]");
  if (!(button instanceof HTMLButtonElement)) return;
  const { act, at, why } = button.dataset;
  let url = act === "replay" ? `${at}/replay` : (at ?? "");
  if (act === "discard") {
    const reason = prompt(text.confirm);
    if (!reason) return;
    if (why) url += `?reason=${encodeURIComponent(reason)}`;
  }
  button.disabled = true;
  const answer = await fetch(url, { method: act === "replay" ? "POST" : "DELETE", headers: { "X-CSRF-Token": text.csrf ?? "" } });
  const said = answer.status === 204 ? {} : await answer.json().catch(() => ({}));
  const failed = !answer.ok ? (said.detail ?? said.title ?? String(answer.status)) : said.error;
  button.disabled = Boolean(failed) === false;
  tell(failed ? (text.failed ?? "").replace("{detail}", failed) : (text.done ?? ""));
});
