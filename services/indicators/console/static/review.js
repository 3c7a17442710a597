// Claims the next contact of the review queue, shows its words, the best codes and precedents, and sends what a key decides.
// Commands go to classification, which owns decisions; this page keeps nothing but what was passed over in this visit.

const root = /** @type {HTMLElement} */ (document.getElementById("review"));
const lang = document.documentElement.lang;
const { locale, dates } = document.documentElement.dataset; // numbers and dates as the server writes them
/** @type {Record<string, string>} */
const texts = JSON.parse(root.dataset.texts ?? "{}");
const base = "/classification/v1";
const store = "lazo-review-keys";

/** @param {string} id @returns {any} */
const at = (id) => document.getElementById(id);
/** @param {string} name @param {Record<string, unknown>} [values] */
const say = (name, values = {}) => (texts[`review.${name}`] ?? name).replace(/\{(\w+)\}/g, (_, key) => String(values[key] ?? ""));
/** @param {string} tag @param {string} name @param {string} [words] */
function make(tag, name, words) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (words !== undefined) element.textContent = words;
  return element;
}

const state = {
  /** @type {any} */ view: null,
  /** @type {any} */ ahead: null,
  /** @type {string[]} */ passed: [],
  /** @type {string | null} */ before: null,
  /** @type {any} */ book: { motives: [], causes: [] },
  names: new Map(),
  busy: true,
  decided: 0,
  alike: false,
};

/** @param {string} path @param {any} [body] */
async function call(path, body) {
  const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json", "X-CSRF-Token": root.dataset.csrf ?? "" }, body: JSON.stringify(body) };
  const answer = await fetch(base + path, { ...options, headers: { ...(options.headers ?? {}), "Accept-Language": lang } });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(said.detail || said.title || String(answer.status)), { status: answer.status });
  return said;
}

/** @param {boolean} on */
function busy(on) {
  state.busy = on;
  root.setAttribute("aria-busy", String(on));
}

/** @param {string} words */
function tell(words) {
  at("told").hidden = false;
  at("told").textContent = words;
}

/** @param {string} code */
const name = (code) => (code === "unknown" ? say("unknown") : (state.names.get(code) ?? code));

/** @param {string} code */
const causeName = (code) => (code === "unknown" ? say("no_cause") : name(code));

/** Claim one more and read it. @returns {Promise<any>} */
async function fetchNext() {
  const held = state.view ? [state.view.id] : [];
  const found = await call("/review-queue/claim", { count: 1, without: [...held, ...state.passed].slice(0, 200) });
  if (!found.items.length) return null;
  const { interaction_id: id, purpose } = found.items[0];
  return { ...(await call(`/review-queue/${encodeURIComponent(id)}`)), id, purpose };
}

async function next() {
  busy(true);
  try {
    const ahead = state.ahead;
    state.ahead = null;
    const view = (ahead && (await ahead)) || (await fetchNext());
    state.view = view;
    if (view) show(view);
    else nothing(say("empty"), say("empty_text"));
  } catch (error) {
    failed(/** @type {any} */ (error));
  } finally {
    busy(false);
  }
  // The one after is claimed while this one is read; a claim that is not used runs out by itself.
  if (state.view) {
    state.ahead = fetchNext().catch(() => null);
  }
}

/** @param {any} error */
function failed(error) {
  nothing(error.status === 403 ? say("forbidden") : say("away", { detail: error.message }), "");
}

/** @param {string} title @param {string} words */
function nothing(title, words) {
  state.view = null;
  at("item").hidden = at("choices").hidden = true;
  at("nothing").hidden = at("again").hidden = false;
  at("nothing-title").textContent = title;
  at("nothing-text").textContent = words;
}

/** @param {any} view */
function show(view) {
  state.alike = false;
  at("nothing").hidden = at("alike").hidden = true;
  at("item").hidden = at("choices").hidden = at("near").hidden = false;
  const contact = view.contact ?? {};
  const about = [];
  if (view.purpose === "second") about.push(make("span", "tag not_enough_evidence", say("second")));
  if (contact.kind) about.push(make("span", "tag", texts[`kind.${contact.kind}`] ?? contact.kind));
  if (contact.channel) about.push(make("span", "soft", [texts[`channel.${contact.channel}`] ?? contact.channel, contact.touchpoint && name(contact.touchpoint), contact.product].filter(Boolean).join(" · ")));
  if (contact.declared_motive) about.push(make("span", "soft", say("declared", { motive: name(contact.declared_motive) })));
  if (contact.occurred_at) {
    const when = make("time", "soft push", new Date(contact.occurred_at).toLocaleString(dates, { dateStyle: "medium", timeStyle: "short" }));
    when.setAttribute("datetime", contact.occurred_at);
    about.push(when);
  }
  at("about").replaceChildren(...about);
  const words = [contact.subject, contact.text].filter(Boolean).join("\n\n");
  const text = at("text");
  text.textContent = words || (view.erased ? say("erased") : view.kept ? say("no_words") : say("not_kept"));
  text.lang = contact.language ?? "";
  text.scrollTop = 0;
  at("best").replaceChildren(...view.candidates.map(candidate));
  const near = view.precedents.map(precedent);
  at("precedents").replaceChildren(...(near.length ? near : [make("li", "soft", say("no_precedents"))]));
  at("words").focus();
}

/** @param {any} one @param {number} index */
function candidate(one, index) {
  const button = make("button", "choice");
  button.dataset.key = String(index + 1);
  const words = make("span", "");
  const line = make("span", "row");
  line.append(make("strong", "", name(one.motive)), make("span", "soft", say("sure", { n: Math.round(one.confidence * 100) })));
  const why = one.evidence.map((/** @type {any} */ term) => (lang === "es" ? `«${term.term}»` : `“${term.term}”`)).join(", ");
  words.append(line, make("span", "soft small", causeName(one.cause)), make("span", "soft small", `${say("why")} ${why || say("no_why")}`));
  button.append(make("kbd", "", String(index + 1)), words);
  const item = make("li", "");
  item.append(button);
  return item;
}

/** @param {any} one */
function precedent(one) {
  const item = make("li", "");
  item.append(make("p", "", one.text), make("span", "soft small", say("decided_by", { person: one.by, motive: `${name(one.motive)} · ${causeName(one.cause)}` })));
  return item;
}

/** @param {string} motive @param {string | null} cause */
async function decide(motive, cause) {
  const view = state.view;
  if (!view || state.busy) return;
  busy(true);
  const path = `/interactions/${encodeURIComponent(view.id)}`;
  const choice = cause === null ? { motive } : { motive, cause };
  try {
    if (state.alike) {
      const ids = [view.id, ...[...document.querySelectorAll("#alike-list input:checked")].map((box) => /** @type {HTMLInputElement} */ (box).value)];
      const said = await call("/interactions/label-many", { interaction_ids: ids, ...choice });
      state.decided += said.labelled;
      tell(say("done_many", { n: said.labelled, motive: name(motive) }) + (said.refused ? `. ${say("some_refused", { n: said.refused })}` : ""));
      state.ahead = null; // it may be one of them
    } else {
      await call(view.purpose === "second" ? `${path}/second-coding` : `${path}/label`, view.purpose === "second" ? choice : { ...choice, revision: view.decision?.revision });
      state.decided += 1;
      tell(say("done", { motive: name(motive) }));
    }
    state.before = view.purpose === "second" ? null : view.id;
    at("count").textContent = say("count", { n: state.decided });
  } catch (error) {
    // Somebody else was first, or the words are gone: it is not asked again in this visit.
    tell(/** @type {Error} */ (error).message);
    if (/** @type {any} */ (error).status !== 409) {
      busy(false);
      return;
    }
    state.passed.unshift(view.id);
  }
  await next();
}

async function skip() {
  const view = state.view;
  if (!view || state.busy) return;
  busy(true);
  state.passed.unshift(view.id);
  await call("/review-queue/release", { interaction_ids: [view.id] }).catch(() => null);
  tell(say("passed"));
  await next();
}

async function back() {
  if (!state.before || state.busy) return;
  busy(true);
  const held = state.view;
  try {
    const view = { ...(await call(`/review-queue/${encodeURIComponent(state.before)}`)), id: state.before, purpose: "review" };
    if (held) state.ahead = Promise.resolve(held);
    state.view = view;
    state.before = null;
    show(view);
    at("about").prepend(make("span", "tag", say("now", { motive: name(view.decision?.motive ?? "unknown") })));
  } catch (error) {
    tell(/** @type {Error} */ (error).message);
  } finally {
    busy(false);
  }
}

async function alike() {
  const view = state.view;
  if (!view || state.busy || view.purpose === "second") return;
  if (state.alike) {
    // The same key again: only the one that was looked at.
    state.alike = false;
    at("alike").hidden = true;
    at("near").hidden = false;
    at("words").focus();
    return;
  }
  const found = await call(`/review-queue/${encodeURIComponent(view.id)}/alike?limit=50`).catch(() => ({ items: [] }));
  if (state.view !== view) return;
  state.alike = found.items.length > 0;
  if (!state.alike) return tell(say("alike_none"));
  at("near").hidden = true;
  at("alike").hidden = false;
  at("alike-list").replaceChildren(
    ...found.items.map((/** @type {any} */ one) => {
      const item = make("li", "");
      const box = /** @type {HTMLInputElement} */ (make("input", ""));
      box.type = "checkbox";
      box.checked = true;
      box.value = one.interaction_id;
      const tick = make("label", "tick");
      tick.append(box, make("span", "", one.text));
      item.append(tick);
      return item;
    }),
  );
  /** @type {HTMLElement} */ (document.querySelector("#alike-list input")).focus();
}

// Searching a code: motives first, then the causes of the one that was chosen -------------------------------------------

/** @type {{motive: any, options: any[], active: number}} */
const search = { motive: null, options: [], active: 0 };
const fold = (/** @type {string} */ words) => words.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

function openSearch() {
  if (!state.view || state.busy) return;
  search.motive = null;
  at("query").value = "";
  at("search-title").textContent = say("search_motive");
  at("search").showModal();
  at("query").focus();
  list();
}

function list() {
  const wanted = fold(at("query").value).split(/\s+/).filter(Boolean);
  const usual = new Set(search.motive?.causes ?? []);
  const entries = search.motive
    ? [{ code: "unknown", label: say("no_cause") }, ...state.book.causes.filter((/** @type {any} */ one) => usual.has(one.code)), ...state.book.causes.filter((/** @type {any} */ one) => !usual.has(one.code))]
    : state.book.motives;
  search.options = entries.filter((/** @type {any} */ one) => wanted.every((part) => fold(`${one.label} ${one.code}`).includes(part))).slice(0, 60);
  search.active = 0;
  at("found").replaceChildren(
    ...search.options.map((one, index) => {
      const option = make("li", "", one.label);
      option.id = `option-${index}`;
      option.setAttribute("role", "option");
      option.append(make("span", "soft small", one.code === "unknown" ? "" : one.code));
      option.addEventListener("click", () => choose(index));
      return option;
    }),
  );
  if (!search.options.length) at("found").append(make("li", "soft", say("no_match")));
  mark();
}

function mark() {
  [...at("found").children].forEach((option, index) => {
    option.setAttribute("aria-selected", String(index === search.active));
    if (index === search.active) option.scrollIntoView({ block: "nearest" });
  });
  at("query").setAttribute("aria-activedescendant", search.options.length ? `option-${search.active}` : "");
}

/** @param {number} index */
function choose(index) {
  const chosen = search.options[index];
  if (!chosen) return;
  if (search.motive === null) {
    search.motive = chosen;
    at("query").value = "";
    at("search-title").textContent = say("search_cause", { motive: chosen.label });
    list();
    return;
  }
  at("search").close();
  decide(search.motive.code, chosen.code);
}

at("query").addEventListener("input", list);
at("query").addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && search.options.length) {
    search.active = (search.active + step + search.options.length) % search.options.length;
    mark();
  } else if (event.key === "Enter") choose(search.active);
  else return;
  event.preventDefault();
});

// Keys --------------------------------------------------------------------------------------------------------------

/** @param {string} key */
function press(key) {
  const chosen = state.view?.candidates[Number(key) - 1];
  if (chosen) decide(chosen.motive, chosen.cause);
  else if (key === "u") decide("unknown", "unknown");
  else if (key === "s") skip();
  else if (key === "b") alike();
  else if (key === "z") back();
  else if (key === "/") openSearch();
  else if (key === "?") at("help").showModal();
  else return false;
  return true;
}

const single = /** @type {HTMLInputElement} */ (at("single"));
single.checked = localStorage.getItem(store) !== "off";
single.addEventListener("change", () => localStorage.setItem(store, single.checked ? "on" : "off"));

document.addEventListener("keydown", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  const typing = target.matches("input:not([type=checkbox]), textarea, select");
  if (!single.checked || typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat || document.querySelector("dialog[open]")) return;
  if (press(event.key)) event.preventDefault();
});
at("choices").addEventListener("click", (/** @type {MouseEvent} */ event) => {
  const button = /** @type {HTMLElement} */ (event.target).closest("[data-key]");
  if (button instanceof HTMLElement) press(button.dataset.key ?? "");
});
at("again").addEventListener("click", () => {
  state.passed = [];
  next();
});
window.addEventListener("pagehide", () => {
  // Give back what was claimed and not decided; where this does not arrive, the claim runs out.
  fetch(`${base}/review-queue/release`, { method: "POST", keepalive: true, headers: { "Content-Type": "application/json", "X-CSRF-Token": root.dataset.csrf ?? "" }, body: "{}" });
});

// Agreement -----------------------------------------------------------------------------------------------------------

/** @param {number | null} value */
const kappaOf = (value) => (value === null ? "–" : value.toLocaleString(locale, { minimumFractionDigits: 2, maximumFractionDigits: 2 }));

/** @param {string[]} heads @param {string[][]} rows */
function table(heads, rows) {
  const wide = make("div", "wide");
  wide.tabIndex = 0;
  const whole = make("table", "");
  const head = make("tr", "");
  head.append(...heads.map((words) => Object.assign(make("th", "", words), { scope: "col" })));
  const body = make("tbody", "");
  for (const row of rows) {
    const line = make("tr", "");
    line.append(...row.map((words) => make("td", "", words)));
    body.append(line);
  }
  const top = make("thead", "");
  top.append(head);
  whole.append(top, body);
  wide.append(whole);
  return wide;
}

async function agreement() {
  const [all, differing] = await Promise.all([call("/agreement"), call("/second-codings?disagreed=true&limit=10")]);
  if (!all.pairs) return at("kappas").replaceChildren(make("p", "soft", say("agreement_none")));
  /** @param {string} words @param {any} one */
  const line = (words, one) => [words, one.value === null ? "–" : `${kappaOf(one.value)} (${kappaOf(one.low)} … ${kappaOf(one.high)})`, String(one.pairs)];
  const rows = [line(say("all_motives"), all.motive), line(say("all_causes"), all.cause), line(say("machine"), all.machine)];
  rows.push(...all.by_person.map((/** @type {any} */ one) => line(one.person, one)), ...all.by_motive.map((/** @type {any} */ one) => line(name(one.motive), one)));
  const parts = [table([say("of"), say("kappa"), say("pairs")], rows)];
  if (differing.items.length) {
    parts.push(make("h2", "", say("disagreements")));
    parts.push(table([say("first"), say("second_one")], differing.items.map((/** @type {any} */ one) => [`${one.first_person}: ${name(one.first_motive)} · ${causeName(one.first_cause)}`, `${one.person}: ${name(one.motive)} · ${causeName(one.cause)}`])));
  }
  at("kappas").replaceChildren(...parts);
}

async function begin() {
  try {
    const found = await call("/rulebook");
    const heads = new Set([...found.document.motives, ...(found.document.causes ?? [])].map((one) => one.parent));
    for (const one of found.document.touchpoints ?? []) state.names.set(one.code, one.name[lang] ?? Object.values(one.name)[0]);
    for (const section of ["motives", "causes"]) {
      state.book[section] = (found.document[section] ?? [])
        .map((/** @type {any} */ one) => ({ ...one, label: one.name[lang] ?? Object.values(one.name)[0] }))
        .filter((/** @type {any} */ one) => {
          state.names.set(one.code, one.label);
          return !heads.has(one.code) && !(one.becomes ?? []).length;
        });
    }
  } catch (error) {
    if (/** @type {any} */ (error).status !== 404) return failed(/** @type {any} */ (error));
  }
  agreement().catch((error) => at("kappas").replaceChildren(make("p", "soft", say("away", { detail: error.message }))));
  await next();
}

begin();
