// Draws the plots that the page describes in its JSON element, and switches between light and dark. Knows no scenario.
"use strict";
(() => {
  const root = document.documentElement;
  const colour = (name) => getComputedStyle(root).getPropertyValue("--" + name).trim();

  // Three digits in the size that people read, as the tables have it.
  const digits = (v) => (v === 0 ? "0" : Math.abs(v) >= 1000 ? Math.round(v).toLocaleString("en-US") : String(Number(v.toPrecision(3))));
  const duration = (us) => {
    const a = Math.abs(us);
    return a < 1 ? digits(us * 1e3) + " ns" : a < 1e3 ? digits(us) + " µs" : a < 1e6 ? digits(us / 1e3) + " ms" : digits(us / 1e6) + " s";
  };
  const size = (b) => {
    const names = ["B", "KiB", "MiB", "GiB", "TiB"];
    let i = 0;
    for (; Math.abs(b) >= 999.5 && i < 4; i++) b /= 1024;
    return digits(b) + " " + names[i];
  };
  const write = (v, unit) => (v == null ? "–" : unit === "us" ? duration(v) : unit === "1" ? digits(v) : unit === "1/s" ? digits(v) + "/s" : unit === "bytes" ? size(v) : digits(v) + " " + unit);

  // The ends of an axis: those that are given, else the data's with a little room.
  const ends = (a) => (u, low, high) => {
    if (a.high) return [a.low || 0, a.high];
    if (low == null || high == null) return [1, 10];
    if (a.log) return [low / 1.25, high * 1.25];
    const room = (high - low || 1) * 0.04;
    return [low - room, high + room];
  };

  // 1, 2, 5, 10 within the ends, or whole decades when that were too many.
  const logTicks = (low, high) => {
    const all = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) for (const m of [1, 2, 5]) all.push(m * 10 ** e);
    const within = all.filter((v) => v >= low * 0.999 && v <= high * 1.001);
    return within.length > 8 ? within.filter((v) => /^1/.test(v.toExponential())) : within;
  };

  // Sizes double: 64 KiB, 256 KiB and so on.
  const doublings = (low, high) => {
    const all = [];
    for (let e = Math.ceil(Math.log2(low)); 2 ** e <= high; e++) all.push(2 ** e);
    return all.filter((v, i) => all.length <= 8 || i % Math.ceil(all.length / 8) === 0);
  };

  const axis = (a, side) => {
    const out = {
      stroke: colour("soft"), font: "11px " + getComputedStyle(document.body).fontFamily, grid: { stroke: colour("grid"), width: 1 },
      ticks: { stroke: colour("rule"), width: 1, size: 4 }, label: side === 3 ? undefined : a.label, labelFont: "11px " + getComputedStyle(document.body).fontFamily,
      labelSize: 18, size: side === 3 ? 62 : 30, side,
    };
    if (a.ticks) {
      const text = new Map(a.ticks.map((t) => [t.at, t.text]));
      out.splits = (u, i, low, high) => [...text.keys()].filter((v) => v >= low && v <= high * 1.001);
      out.values = (u, all) => all.map((v) => text.get(v));
    } else {
      if (a.unit === "bytes") out.splits = (u, i, low, high) => (a.log ? doublings(low, high) : u.data[0]);
      else if (a.log) out.splits = (u, i, low, high) => logTicks(low, high);
      out.values = (u, all) => all.map((v) => (v == null ? "" : write(v, a.unit)));
    }
    out.filter = (u, all) => all;
    return out;
  };

  const series = (s, y) => ({
    label: s.name, stroke: colour(s.colour), width: s.line ? 1.75 : 0, dash: s.dashed ? [5, 4] : undefined, spanGaps: !s.gaps,
    paths: s.line ? undefined : () => null,
    points: { show: !!s.points, size: 6, width: 1.25, stroke: colour(s.colour), fill: s.hollow ? colour("paper") : colour(s.colour) },
    value: (u, v) => write(v, y.unit),
  });

  // Lines across the plot: objectives, knees, the beginnings of launches, incidents.
  const marks = (list) => (u) => {
    const { ctx, bbox } = u;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.font = 11 * ratio + "px " + getComputedStyle(document.body).fontFamily;
    ctx.lineWidth = ratio;
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    let row = 0;
    for (const m of list) {
      ctx.strokeStyle = colour(m.faint ? "rule" : "soft");
      ctx.fillStyle = colour("soft");
      ctx.setLineDash(m.faint ? [] : [4 * ratio, 3 * ratio]);
      const at = Math.round(u.valToPos(m.at, m.y ? "y" : "x", true));
      ctx.beginPath();
      if (m.y) { ctx.moveTo(bbox.left, at); ctx.lineTo(bbox.left + bbox.width, at); } else { ctx.moveTo(at, bbox.top); ctx.lineTo(at, bbox.top + bbox.height); }
      ctx.stroke();
      if (!m.text) continue;
      const wide = ctx.measureText(m.text).width;
      if (m.y) { ctx.fillText(m.text, bbox.left + 6 * ratio, at - 5 * ratio); continue; }
      const left = at + 5 * ratio + wide > bbox.left + bbox.width;
      ctx.fillText(m.text, left ? at - wide - 5 * ratio : at + 4 * ratio, bbox.top + (12 + (m.faint ? 0 : 14 * row++)) * ratio);
    }
    ctx.restore();
  };

  // Stretches in which something happened. The one whose row of the table has the focus or the pointer stands out.
  const bands = (list) => (u) => {
    const { ctx, bbox } = u;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.font = 11 * ratio + "px " + getComputedStyle(document.body).fontFamily;
    ctx.textAlign = "center";
    ctx.textBaseline = "alphabetic";
    let end = -Infinity;
    list.forEach((b, i) => {
      const left = Math.round(u.valToPos(b.from, "x", true));
      const wide = Math.max(Math.round(u.valToPos(b.to, "x", true)) - left, 2 * ratio);
      const out = u.marked === i;
      ctx.fillStyle = ctx.strokeStyle = colour(b.colour);
      ctx.globalAlpha = out ? 0.4 : 0.16;
      ctx.fillRect(left, bbox.top, wide, bbox.height);
      ctx.globalAlpha = 1;
      ctx.lineWidth = (out ? 2 : 1) * ratio;
      ctx.strokeRect(left, bbox.top, wide, bbox.height);
      const half = ctx.measureText(b.text).width / 2;
      const at = left + wide / 2;
      if (!out && at - half < end + 3 * ratio) return; // what does not fit stands in the table
      ctx.fillStyle = colour(out ? "ink" : "soft");
      ctx.fillText(b.text, at, bbox.top - 4 * ratio);
      end = at + half;
    });
    ctx.restore();
  };

  const described = JSON.parse(document.getElementById("plots").textContent);
  let drawn = [];
  const draw = () => {
    for (const u of drawn) u.destroy();
    drawn = [];
    for (const at of document.querySelectorAll("[data-plot]")) {
      const p = described[Number(at.dataset.plot)];
      const u = new uPlot({
        width: Math.max(at.clientWidth, 240), height: 260, pxAlign: 1,
        scales: { x: { time: false, distr: p.x.log ? 3 : 1, range: ends(p.x) }, y: { distr: p.y.log ? 3 : 1, range: ends(p.y) } },
        padding: [p.bands ? 16 : null, null, null, null], // room for the bands' numbers
        axes: [axis(p.x, 2), axis(p.y, 3)],
        series: [{ label: p.x.label, value: (u, v) => nearest(p.x, v) }, ...p.series.map((s) => series(s, p.y))],
        cursor: { drag: { x: false, y: false }, points: { size: 8 } },
        hooks: { drawAxes: [bands(p.bands || []), marks(p.marks || [])] },
      }, p.data, at);
      drawn.push(u);
    }
  };
  const mark = (e) => {
    const row = e.target.closest("[data-band]");
    for (const u of drawn) {
      const band = row && row.closest("figure").contains(u.root) ? Number(row.dataset.band) : undefined;
      if (u.marked === band) continue;
      u.marked = band;
      u.redraw(false, false);
    }
  };
  for (const kind of ["focusin", "pointerover"]) document.addEventListener(kind, mark);
  document.addEventListener("focusout", (e) => { if (!e.relatedTarget) mark({ target: root }); });
  // What was folded had no width.
  document.addEventListener("toggle", (e) => { if (e.target.querySelector("[data-plot]")) draw(); }, true);

  // In the legend a percentile is written as one, although the axis counts 1/(1-q).
  const nearest = (a, v) => (v == null ? "–" : a.label === "percentile" ? "p" + Number((100 * (1 - 1 / v)).toPrecision(5)) : write(v, a.unit));

  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const remember = (theme) => { try { localStorage.setItem("ackline-theme", theme); } catch { /* a file may have no storage */ } };
  const name = () => {
    button.textContent = dark() ? "Light" : "Dark";
    button.setAttribute("aria-label", "Change to the " + (dark() ? "light" : "dark") + " theme");
  };
  try { if (localStorage.getItem("ackline-theme")) root.dataset.theme = localStorage.getItem("ackline-theme"); } catch { /* as above */ }
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    remember(root.dataset.theme);
    name();
    draw();
  });
  system.addEventListener("change", () => { name(); draw(); });

  let waiting = 0;
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(draw, 100);
  });
  // On paper everything is dark on white.
  let before;
  addEventListener("beforeprint", () => { before = root.dataset.theme; root.dataset.theme = "light"; draw(); });
  addEventListener("afterprint", () => { if (before) root.dataset.theme = before; else delete root.dataset.theme; draw(); });

  name();
  draw();
})();
