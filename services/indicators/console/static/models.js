// Asks classification for its models, shows them as versions beside what a shadow would have decided, and sends what a person
// decides about them. Nothing is kept here: after every command the list is asked for again.

const root = /** @type {HTMLElement} */ (document.getElementById("models"));
const lang = document.documentElement.lang;
/** @type {Record<string, string>} */
const texts = JSON.parse(root.dataset.texts ?? "{}");
const base = "/classification/v1";
const BUSY = 1500; // milliseconds between looks while a model is fitted
const ENOUGH = 30; // held-back corrections from which on a figure says something
const SHOWN = 10; // of the shadow's examples, the newest

/** @param {string} id @returns {any} */
const at = (id) => document.getElementById(id);
/** @param {string} name @param {Record<string, unknown>} [values] */
const say = (name, values = {}) => (texts[`models.${name}`] ?? name).replace(/\{(\w+)\}/g, (_, key) => String(values[key] ?? ""));
/** @param {number} value @param {number} [digits] */
const number = (value, digits = 0) => new Intl.NumberFormat(lang, { maximumFractionDigits: digits }).format(value);
/** @param {number | undefined} value */
const percent = (value) => (value === undefined ? "–" : `${number(value * 100, 1)} %`);
/** @param {string} when */
const time = (when) => new Date(when).toLocaleString(lang, { dateStyle: "medium", timeStyle: "short" });
/** @param {string} id */
const short = (id) => id.slice(0, 12);

/** @param {string} tag @param {string} name @param {...(string | Node)} inside */
function make(tag, name, ...inside) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.append(...inside);
  return element;
}

/** @type {{names: Map<string, string>, shown: string, timer: any}} */
const state = { names: new Map(), shown: "", timer: undefined };
/** @param {string} code */
const motive = (code) => (code === "unknown" ? say("unknown") : (state.names.get(code) ?? code));

/** @param {string} path @param {any} [body] */
async function call(path, body) {
  const key = crypto.randomUUID?.() ?? String(Math.random());
  const sent = body === undefined ? {} : { "Content-Type": "application/json", "X-CSRF-Token": root.dataset.csrf ?? "", "Idempotency-Key": key };
  const options = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  const answer = await fetch(base + path, { ...options, headers: { ...sent, "Accept-Language": lang } });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(said.detail || said.title || String(answer.status)), { status: answer.status });
  return said;
}

/** @param {string} words */
function tell(words) {
  at("told").hidden = false;
  at("told").textContent = words;
}

/** What decides, in words: `words-3@1+online@160+svm@0a1b…`. @param {string} live */
function voices(live) {
  const said = live.split("+").map((one) => {
    const [kind, value] = one.split("@");
    return say(`voice.${kind.replace(/-\d+$/, "")}`, kind === "online" ? { n: number(Number(value)) } : { id: value });
  });
  const words = new Intl.ListFormat(lang, { type: "conjunction" }).format(said);
  return words.charAt(0).toLocaleUpperCase(lang) + words.slice(1);
}

/** Who decides, and who will from the next contact on: a process hears of a promotion when it codes. @param {any} found */
function deciding(found) {
  if (!found.live) return say("no_rulebook");
  const now = found.live.split("+").find((/** @type {string} */ one) => one.startsWith("svm@"))?.slice(4) ?? null;
  const next = found.promoted === null ? null : short(found.promoted);
  const said = voices(found.live);
  if (now === next) return `${said}.`;
  return `${said}. ${next === null ? say("next.none") : say("next.model", { id: next })}`;
}

/** Names and values. @param {string} kind @param {[string, string | Node][]} pairs */
const pairs = (kind, pairs) => make("dl", kind, ...pairs.map(([name, value]) => make("div", "", make("dt", "", name), make("dd", "", value))));

/** @param {string[]} heads @param {(string | Node)[][]} rows @param {string} label */
function table(heads, rows, label) {
  const top = make("tr", "", ...heads.map((words) => Object.assign(make("th", "", words), { scope: "col" })));
  const body = rows.map((row) => make("tr", "", ...row.map((cell) => make("td", "", cell))));
  const wide = make("div", "wide", make("table", "", make("thead", "", top), make("tbody", "", ...body)));
  wide.tabIndex = 0;
  wide.setAttribute("role", "region");
  wide.setAttribute("aria-label", label);
  return wide;
}

/** The words of one contact, when somebody wants to see them. @param {string} id */
function words(id) {
  if (!root.dataset.may) return make("code", "", id);
  const button = /** @type {HTMLButtonElement} */ (make("button", "", say("report.words")));
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const { contact } = await call(`/review-queue/${encodeURIComponent(id)}`);
      const said = [contact?.subject, contact?.text].filter(Boolean).join("\n\n");
      button.replaceWith(make("blockquote", "", said || say("report.no_words")));
    } catch (error) {
      button.disabled = false;
      tell(say("failed", { detail: /** @type {Error} */ (error).message }));
    }
  });
  return button;
}

/** What it would have decided, beside what was decided. @param {any} report */
function beside(report) {
  const parts = [make("h3", "", say("report"))];
  const start = time(report.started_at);
  parts.push(make("p", "soft small", report.ended_at ? say("report.ended", { start, end: time(report.ended_at) }) : say("report.going", { start })));
  if (!report.texts) return make("div", "beside", ...parts, make("p", "", say("report.none")));
  const share = (/** @type {number} */ count) => `${number(count)} (${percent(count / report.texts)})`;
  parts.push(
    pairs("facts", [
      [say("report.texts"), number(report.texts)],
      [say("report.same"), share(report.same)],
      [say("report.differs"), share(report.texts - report.same)],
      [say("report.review_live"), share(report.review_live)],
      [say("report.review_shadow"), share(report.review_shadow)],
    ]),
  );
  if (!report.moved.length) return make("div", "beside", ...parts, make("p", "", say("report.all_same", { n: number(report.texts) })));
  parts.push(table([say("report.decided"), say("report.would"), say("report.count")], report.moved.map((/** @type {any} */ one) => [motive(one.before), motive(one.after), number(one.count)]), say("report.moved")));
  const examples = report.examples.slice(-SHOWN).reverse();
  const rows = examples.map((/** @type {any} */ one) => [motive(one.decided), motive(one.shadow), words(one.interaction_id)]);
  parts.push(make("details", "", make("summary", "", say("report.examples")), table([say("report.decided"), say("report.would"), ""], rows, say("report.examples"))));
  return make("div", "beside", ...parts);
}

/** @param {any} step */
function step(step) {
  const when = make("time", "", time(step.at));
  when.setAttribute("datetime", step.at);
  const why = step.because && step.because !== "asked" ? ` · ${say(`because.${step.because}`)}` : "";
  return make("li", "", when, " ", make("strong", "", say(`what.${step.what}`)), ` ${step.by ? say("by", { person: step.by }) : say("itself")}${why}`);
}

/** @param {any} model */
function more(model) {
  const size = say("kilobytes", { n: number(model.size / 1000) });
  const libraries = Object.entries(model.libraries).map((pair) => pair.join(" ")).join(", ");
  const holder = make("div", "", pairs("pairs", [
    [say("of.id"), make("code", "", model.model_id)],
    [say("of.data"), make("code", "", model.data)],
    [say("of.size"), size],
    [say("of.encoder"), model.encoder ?? say("no_encoder")],
    [say("of.libraries"), libraries],
  ]));
  const details = make("details", "more", make("summary", "", say("more")), holder);
  details.addEventListener(
    "toggle",
    async () => {
      try {
        const whole = await call(`/models/${model.model_id}`);
        holder.append(make("h3", "", say("history")), make("ol", "steps", ...whole.history.map(step)));
        if (whole.shadow_report && model.state !== "shadow") holder.append(beside(whole.shadow_report));
      } catch (error) {
        tell(say("away", { detail: /** @type {Error} */ (error).message }));
      }
    },
    { once: true },
  );
  return details;
}

/** What can be done with a model in this state, the likeliest first. @type {Record<string, string[]>} */
const COMMANDS = { live: ["rollback"], shadow: ["promote", "shadow/end"], candidate: ["shadow", "promote"], retired: ["shadow", "promote"] };

/** @param {any} model @param {any} whole  the model with its history and its shadow's report, where that was asked for */
function card(model, whole) {
  const title = make("h2", "", make("code", "", short(model.model_id)));
  title.id = `model-${model.model_id}`;
  title.tabIndex = -1;
  const fitted = `${say("fitted_at", { when: time(model.fitted_at) })} ${model.by ? say("by", { person: model.by }) : say("itself")}`;
  const since = model.state === "live" ? ` · ${say("since", { when: time(model.promoted_at) })}` : "";
  const kind = { live: "tag", shadow: "tag not_enough_evidence" }[/** @type {string} */ (model.state)] ?? "tag aside";
  const head = make("header", "row", title, make("span", kind, say(`state.${model.state}`)), make("span", "soft small push", fitted + since));
  const m = model.measures;
  const values = { corrections: number(model.corrections), sure: number(model.sure), held: number(model.held_back), version: model.rulebook_version };
  const measured = pairs("facts", [
    [say("measure.accuracy"), percent(m.accuracy)],
    [say("measure.live"), percent(m.live_accuracy)],
    [say("measure.ece"), m.ece === undefined ? "–" : number(m.ece, 3)],
    [say("measure.coverage"), percent(m.coverage_at_95)],
    [say("measure.precision"), percent(m.coverage_at_95 ? m.precision : undefined)], // of nothing there is no share
    [say("measure.kept"), percent(m.held_back_sure ? m.kept : undefined)],
  ]);
  const article = make("article", "card model", head, make("p", "soft", say("learnt", values)), measured);
  article.setAttribute("aria-labelledby", title.id);
  article.dataset.state = model.state;
  if (model.held_back < ENOUGH) article.append(make("p", "soft small", say("few")));
  if (model.state === "shadow" && whole?.shadow_report) article.append(beside(whole.shadow_report));
  if (root.dataset.may) {
    const buttons = COMMANDS[model.state].map((name) => {
      const button = make("button", "", say(`do.${name}`));
      button.addEventListener("click", () => command(model, name, whole));
      return button;
    });
    article.append(make("p", "row do-model", ...buttons));
  }
  article.append(more(model));
  return article;
}

/** Ask once more where a command changes who decides. @param {string} title @param {string} words */
function sure(title, words) {
  const dialog = /** @type {HTMLDialogElement} */ (at("sure"));
  at("sure-title").textContent = title;
  at("sure-text").textContent = words;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true }));
}

/** @param {any} model @param {string} name @param {any} whole */
async function command(model, name, whole) {
  const id = short(model.model_id);
  if (name === "promote" || name === "rollback") {
    const before = whole?.back_to ? say("voice.svm", { id: short(whole.back_to) }) : say("before.words");
    if (!(await sure(say(`sure.${name}`, { id }), say(`sure.${name}_text`, { before })))) return;
  }
  try {
    await call(`/models/${model.model_id}/${name}`, {});
    tell(say(`done.${name}`, { id }));
  } catch (error) {
    tell(say("failed", { detail: /** @type {Error} */ (error).message }));
  }
  await load();
  at(`model-${model.model_id}`)?.focus();
}

/** @param {any} fit */
function fitState(fit) {
  if (!fit) return say("fit.none");
  return fit.state === "done" ? `${say(`fit.${fit.outcome}`)} · ${time(fit.ended_at)}` : say(`fit.${fit.state}`);
}

/** @param {any} found @param {Map<string, any>} wholes */
function show(found, wholes) {
  at("deciding").textContent = deciding(found);
  const facts = { rulebook: found.rulebook_version ? say("version", { n: found.rulebook_version }) : "–", corrections: number(found.corrections), models: number(found.models.length), fit: fitState(found.fit) };
  for (const [name, words] of Object.entries(facts)) {
    const cell = root.querySelector(`[data-of="${name}"]`);
    if (cell) cell.textContent = words;
  }
  at("facts").hidden = false;
  at("nothing").hidden = found.models.length > 0;
  at("nothing-title").textContent = say("empty");
  at("nothing-text").textContent = found.live ? say("empty_text") : say("no_rulebook_text");
  const order = ["live", "shadow", "candidate", "retired"];
  const sorted = [...found.models].sort((one, other) => order.indexOf(one.state) - order.indexOf(other.state));
  at("list").replaceChildren(...sorted.map((model) => card(model, wholes.get(model.model_id))));
  const button = at("fit");
  if (button) {
    button.hidden = !found.live;
    button.disabled = Boolean(found.fit) && found.fit.state !== "done";
  }
}

async function load() {
  clearTimeout(state.timer);
  root.setAttribute("aria-busy", "true");
  try {
    const found = await call("/models");
    const asked = found.models.filter((/** @type {any} */ one) => one.state === "live" || one.state === "shadow");
    const wholes = new Map(await Promise.all(asked.map(async (/** @type {any} */ one) => [one.model_id, await call(`/models/${one.model_id}`)])));
    // What has not changed is left alone: somebody may be reading it, or stand on one of its buttons.
    const now = JSON.stringify([found, ...wholes]);
    if (now !== state.shown) show(found, wholes);
    state.shown = now;
    if (found.fit && found.fit.state !== "done") state.timer = setTimeout(load, BUSY);
  } catch (error) {
    at("deciding").textContent = /** @type {any} */ (error).status === 403 ? say("forbidden") : say("away", { detail: /** @type {Error} */ (error).message });
  }
  root.setAttribute("aria-busy", "false");
}

at("fit")?.addEventListener("click", async () => {
  try {
    await call("/models/fit", {});
    tell(say("done.fit"));
  } catch (error) {
    tell(say("failed", { detail: /** @type {Error} */ (error).message }));
  }
  await load();
});

async function begin() {
  const book = await call("/rulebook").catch(() => null); // without one there are no names, and the page says so
  for (const one of book?.document?.motives ?? []) state.names.set(one.code, one.name[lang] ?? Object.values(one.name)[0]);
  await load();
}

begin();
