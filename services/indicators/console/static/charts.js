// Draws every <div data-chart="…">: fetches its Vega-Lite specification and hands it to Vega with the page's colours.
// `ast` makes Vega interpret expressions instead of compiling them, which `default-src 'self'` forbids; no styles are injected.

/** @param {boolean} dark */
function palette(dark) {
  const c = dark
    ? { text: "#b9c5c5", line: "#2b3637", accent: "#5cc8bd", second: "#f0a56b", range: ["#5cc8bd", "#f0a56b", "#9db0f5", "#e6c65c", "#d79bd0", "#8ad49a", "#9aa5a8"] }
    : { text: "#4a5755", line: "#dfe5e3", accent: "#0b6e69", second: "#a3480c", range: ["#0b6e69", "#c4570b", "#4a5fb3", "#b58a00", "#8e4585", "#3d8f4f", "#7b868a"] };
  return {
    background: "transparent",
    font: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif',
    view: { stroke: "transparent" },
    mark: { color: c.accent },
    line: { strokeWidth: 2 },
    axis: { labelColor: c.text, titleColor: c.text, gridColor: c.line, domainColor: c.line, tickColor: c.line, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal" },
    legend: { labelColor: c.text, titleColor: c.text, labelFontSize: 12, symbolType: "square" },
    range: { category: c.range },
    style: { band: { fill: c.accent }, limit: { color: c.text, stroke: c.text }, second: { color: c.second } },
  };
}

const scheme = matchMedia("(prefers-color-scheme: dark)");

/** @param {HTMLElement} element @param {string} text */
function say(element, text) {
  element.textContent = text;
  element.classList.add("bare");
}

/** @param {HTMLElement} element */
async function draw(element) {
  const url = element.dataset.chart ?? "";
  if (!element.firstChild) say(element, element.dataset.loading ?? "");
  try {
    const answer = await fetch(url, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`${answer.status} for ${url}`);
    const spec = await answer.json();
    if (!spec.data?.values?.length) return say(element, element.dataset.empty ?? "");
    const locale = spec.config.locale;
    delete spec.config.locale;
    element.textContent = "";
    element.classList.remove("bare");
    await window.vegaEmbed(element, spec, {
      ast: true,
      actions: false,
      defaultStyle: false,
      renderer: "svg",
      tooltip: { disableDefaultStyle: true },
      config: palette(scheme.matches),
      formatLocale: locale.number,
      timeFormatLocale: locale.time,
    });
    element.dataset.drawn = "1";
  } catch (error) {
    console.error(error);
    say(element, element.dataset.failed ?? "");
  }
}

const charts = [...document.querySelectorAll("[data-chart]")];
// All of them, from the top and one after the other: whoever prints the page, or takes a picture of it, has not scrolled.
for (const chart of charts) await draw(/** @type {HTMLElement} */ (chart));
scheme.addEventListener("change", () => charts.filter((chart) => chart.dataset.drawn).forEach(draw));
