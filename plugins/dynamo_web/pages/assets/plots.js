// Plots, of rows that the page holds or REST gives. Plotly is fetched when the first of them comes into sight.
"use strict";

(() => {
  const script = document.currentScript;
  const ui = document.querySelector("base").getAttribute("href").replace(/\/$/, "");
  const rest = ui.replace(/\/ui$/, "/v1");
  const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a800", "#7a7a7a"];
  const STATES = { success: "#009e73", running: "#56b4e9", failed: "#d55e00", queued: "#7a7a7a" };
  const MOST_PARTS = COLOURS.length;
  const SCALES = [["EB", 1e18], ["PB", 1e15], ["TB", 1e12], ["GB", 1e9], ["MB", 1e6], ["kB", 1e3], ["B", 1]];

  // Our policy of content refuses styles in attributes and elements; one by one a script may set them.
  const setAttribute = Element.prototype.setAttribute;
  Element.prototype.setAttribute = function set(name, text) {
    if (name === "style") this.style.cssText = text;
    else setAttribute.call(this, name, text);
  };
  const appendChild = Node.prototype.appendChild;
  Node.prototype.appendChild = function append(node) {
    return node instanceof HTMLStyleElement ? node : appendChild.call(this, node);
  };

  let loading = null;
  function plotly() {
    loading ??= new Promise((done, failed) => {
      const made = document.createElement("script");
      made.src = new URL(script.dataset.plotly, document.baseURI);
      made.onload = () => done(window.Plotly);
      made.onerror = () => failed(new Error("Plotly cannot be fetched"));
      document.head.append(made);
    });
    return loading;
  }

  async function rowsOf(figure, columns) {
    if (!figure.dataset.rest) return JSON.parse(figure.dataset.rows);
    const answer = await fetch(`${rest}${figure.dataset.rest}`, { headers: { "X-Dynamo": "1" } });
    const document_ = await answer.json();
    if (!answer.ok) throw new Error(document_.detail);
    return document_.items.map((item) => columns.map((name) => item[name]));
  }

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // Decimal, as everywhere here: the largest unit in which the largest figure is at least one.
  function scaled(figures, unit) {
    if (!unit.startsWith("B")) return { divisor: unit === "%" ? 0.01 : 1, unit };
    const largest = Math.max(...figures.map((figure) => Math.abs(figure ?? 0)), 0);
    const [name, divisor] = SCALES.find(([, size]) => largest >= size) ?? ["B", 1];
    return { divisor, unit: name + unit.slice(1) };
  }

  // The largest parts by name, the others together.
  function grouped(rows, x, part, figure) {
    const totals = new Map();
    for (const row of rows) totals.set(row[part], (totals.get(row[part]) ?? 0) + (row[figure] ?? 0));
    const largest = [...totals].sort((one, other) => other[1] - one[1]).map(([name]) => name);
    const named = new Set(largest.length > MOST_PARTS ? largest.slice(0, MOST_PARTS - 1) : largest);
    const parts = new Map();
    for (const row of rows) {
      const name = named.has(row[part]) ? String(row[part]) : "all others";
      if (!parts.has(name)) parts.set(name, new Map());
      const sums = parts.get(name);
      sums.set(row[x], (sums.get(row[x]) ?? 0) + (row[figure] ?? 0));
    }
    return parts;
  }

  const tint = (index) => COLOURS[index % COLOURS.length];
  const words = (name) => name.replace(/_?bytes_?/, " ").replace("occupancy", "full").replace("protected_fraction", "protected").replaceAll("_", " ").trim().replace(/^size$/, "on disk");

  const DRAW = {
    bars(rows, columns, scale) {
      const x = rows.map((row) => (/^\d{4}-\d\d-\d\dT/.test(row[0]) ? row[0].slice(0, 16).replace("T", " ") : row[0]));
      return columns.slice(1).map((name, index) => ({
        type: "bar",
        name: words(name),
        x,
        y: rows.map((row) => (row[index + 1] === null || row[index + 1] < 0 ? null : row[index + 1] / scale.divisor)),
        marker: { color: tint(index) },
      }));
    },
    stack(rows, columns, scale, parts) {
      if (!parts) return DRAW.bars(rows, columns, scale);
      return [...grouped(rows, 0, columns.length - 1, 1)].map(([name, sums], index) => ({
        type: "bar",
        name,
        x: [...sums.keys()],
        y: [...sums.values()].map((figure) => figure / scale.divisor),
        marker: { color: tint(index) },
      }));
    },
    lines(rows, columns, scale) {
      return [...grouped(rows, 0, columns.length - 1, 1)].map(([name, sums], index) => ({
        type: "scatter",
        mode: sums.size > 60 ? "lines" : "lines+markers",
        name,
        x: [...sums.keys()],
        y: [...sums.values()].map((figure) => figure / scale.divisor),
        line: { color: tint(index), dash: name === "forecast" ? "dash" : name === "quota" ? "dot" : "solid" },
      }));
    },
    matrix(rows, columns, scale) {
      const to = [...new Set(rows.map((row) => row[0]))].sort();
      const from = [...new Set(rows.map((row) => row[1]))].sort();
      const figures = new Map(rows.map((row) => [`${row[1]} ${row[0]}`, row[2]]));
      const at = (one, other) => figures.get(`${one} ${other}`);
      const z = from.map((one) => to.map((other) => (at(one, other) === undefined || at(one, other) === null ? null : at(one, other) / scale.divisor)));
      const isDark = document.documentElement.dataset.theme === "dark" || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
      return [{
        type: "heatmap", x: to, y: from, z, hoverongaps: false, zmin: 0, xgap: 1, ygap: 1, colorscale: "Cividis", reversescale: !isDark,
        hovertemplate: `%{y} → %{x}: %{z:.3~f} ${scale.unit}<extra></extra>`,
        colorbar: { title: { text: scale.unit }, thickness: 12 },
      }];
    },
    tree(rows, columns, scale, parts) {
      const labels = [];
      const ids = [];
      const parents = [];
      const values = [];
      const totals = new Map();
      const part = parts ? columns.length - 1 : null;
      for (const row of rows) totals.set(row[0], (totals.get(row[0]) ?? 0) + (row[1] ?? 0));
      for (const [name, total] of totals) {
        labels.push(String(name));
        ids.push(String(name));
        parents.push("");
        values.push(total / scale.divisor);
      }
      if (part !== null) {
        for (const row of rows) {
          labels.push(String(row[part]));
          ids.push(`${row[0]} / ${row[part]}`);
          parents.push(String(row[0]));
          values.push((row[1] ?? 0) / scale.divisor);
        }
      }
      return [{ type: "treemap", labels, ids, parents, values, branchvalues: "total", textinfo: "label+value", texttemplate: `%{label}<br>%{value:.3~f} ${scale.unit}`, hovertemplate: `%{id}: %{value:.3~f} ${scale.unit}<extra></extra>`, marker: { colors: ids.map((id) => tint([...totals.keys()].indexOf(id.split(" / ")[0]))) } }];
    },
    spans(rows) {
      const states = [...new Set(rows.map((row) => row[3]))];
      const times = rows.flatMap((row) => [Date.parse(row[1]), Date.parse(row[2])]);
      const shortest = (Math.max(...times) - Math.min(...times)) / 400; // or it could not be seen
      return states.map((state) => {
        const mine = rows.filter((row) => row[3] === state);
        return {
          type: "bar", orientation: "h", name: state, y: mine.map((row) => row[0]), base: mine.map((row) => row[1]),
          x: mine.map((row) => Math.max(Date.parse(row[2]) - Date.parse(row[1]), shortest)),
          customdata: mine.map((row) => `${row[1].slice(0, 16).replace("T", " ")} to ${row[2].slice(0, 16).replace("T", " ")} UTC`),
          hovertemplate: "%{y}: %{customdata}<extra>%{fullData.name}</extra>",
          marker: { color: STATES[state] ?? "#7a7a7a" },
        };
      });
    },
  };

  function layout(kind, scale, traces, rows) {
    const axis = { gridcolor: colour("--line"), zerolinecolor: colour("--line"), automargin: true, tickfont: { size: 11 } };
    const isWide = kind === "spans" || kind === "matrix";
    const lanes = new Set(rows.map((row) => row[kind === "matrix" ? 1 : 0])).size;
    return {
      height: isWide ? Math.max(180, Math.min(900, 90 + lanes * 22)) : 320,
      margin: { l: 56, r: 16, t: 8, b: 40 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour("--text"), family: "system-ui, sans-serif", size: 12 },
      xaxis: { ...axis, type: kind === "spans" ? "date" : kind === "bars" || kind === "matrix" ? "category" : undefined },
      yaxis: { ...axis, title: isWide || kind === "tree" ? undefined : { text: scale.unit }, rangemode: "tozero", autorange: kind === "spans" ? "reversed" : undefined },
      barmode: kind === "stack" ? "stack" : kind === "spans" ? "overlay" : "group",
      showlegend: traces.length > 1,
      legend: { orientation: "h", y: -0.2 },
      uniformtext: { minsize: 10, mode: "hide" },
      hoverlabel: { bgcolor: colour("--raised"), font: { color: colour("--text") }, bordercolor: colour("--line") },
    };
  }

  async function draw(figure) {
    const canvas = figure.querySelector(".canvas");
    const { kind, unit, parts, divided } = figure.dataset;
    const columns = JSON.parse(figure.dataset.columns);
    try {
      const rows = await rowsOf(figure, columns);
      if (!rows.length) {
        figure.remove();
        return;
      }
      const last = parts ? columns.length - 2 : columns.length - 1;
      const figures = kind === "spans" ? [] : kind === "matrix" ? rows.map((row) => row[2] / divided) : rows.flatMap((row) => row.slice(1, last + 1));
      if (kind === "matrix") for (const row of rows) row[2] = row[2] === null ? null : row[2] / divided;
      const scale = scaled(figures, unit);
      const note = figure.querySelector(".unit");
      if (note) note.textContent = `(${scale.unit})`;
      const traces = DRAW[kind](rows, columns, scale, parts);
      const drawn = await plotly();
      canvas.replaceChildren();
      await drawn.newPlot(canvas, traces, layout(kind, scale, traces, rows), { displayModeBar: false, responsive: true });
      figure.dataset.drawn = "";
    } catch (error) {
      canvas.textContent = `This could not be drawn: ${error.message}`;
    }
  }

  const figures = [...document.querySelectorAll("figure.plot")];
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "200px" });
  for (const figure of figures) seen.observe(figure);

  const again = () => figures.filter((figure) => "drawn" in figure.dataset).forEach(draw);
  new MutationObserver(again).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
})();
