"use strict";
// Draws the review from what the page holds, keeps marks, and gives them out as decisions.csv.
// Names and reasons come from strangers: they are only ever set as text, never as markup.
(() => {
  const PAGE = 60;
  const byId = (id) => document.getElementById(id);
  const root = byId("review");
  const say = (words) => { byId("review-status").textContent = words; };
  if (!window.DecompressionStream) {
    say("This browser is too old for the review; one of 2023 or later shows it.");
    return;
  }

  const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const unpacked = async (id) => {
    const packed = new Blob([bytesOf(byId(id).textContent)]).stream();
    return new Response(packed.pipeThrough(new DecompressionStream("gzip"))).json();
  };
  const made = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  // What is not printable is written out, as all over freqsan: marks of direction turn letters round.
  const SHORT = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };
  const written = (letter) => SHORT[letter] || `\\u${letter.codePointAt(0).toString(16).padStart(4, "0")}`;
  const shown = (text) => String(text).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, written);
  const number = (value) => value.toLocaleString("en");
  const pValue = (value) => (value === null ? "none" : Number(value.toPrecision(2)).toString());
  const likely = (odds) => `${(100 / (1 + Math.exp(-odds))).toFixed(1)}%`;

  unpacked("review-cases").then(start).catch((error) => say(`The review cannot be shown: ${error}`));

  function start(cases) {
    const total = cases.id.length;
    const key = `freqsan-${cases.run}`;
    const marks = new Map();  // number of an image: {decision, why}
    let storing = true;
    let order = [];
    let page = 0;
    let at = 0;  // place in `order` of the image that keys act on
    let close = null;

    // --- Marks ------------------------------------------------------------------------------

    try {
      const numbers = new Map(cases.id.map((id, one) => [id, one]));
      for (const [id, mark] of Object.entries(JSON.parse(localStorage.getItem(key) || "{}"))) {
        if (numbers.has(id)) marks.set(numbers.get(id), mark);
      }
    } catch (error) {
      storing = false;
    }

    function store() {
      try {
        const byName = Object.fromEntries([...marks].map(([one, mark]) => [cases.id[one], mark]));
        localStorage.setItem(key, JSON.stringify(byName));
        storing = true;
      } catch (error) {
        storing = false;
      }
    }

    function mark(ones, decision) {
      for (const one of ones) {
        const why = marks.get(one)?.why || "";
        if (decision) marks.set(one, { decision, why }); else marks.delete(one);
      }
      store();
      count();
    }

    function count() {
      let keep = 0;
      for (const { decision } of marks.values()) keep += decision === "keep";
      const lost = storing ? "" : " This browser keeps no marks: download them before you leave.";
      byId("review-count").textContent =
        `${number(marks.size)} marked: ${number(keep)} to keep, ${number(marks.size - keep)} to remove.${lost}`;
      byId("review-download").disabled = byId("review-clear").disabled = !marks.size;
    }

    const cell = (text) => (/[",\r\n;\t]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

    byId("review-download").onclick = () => {
      const rows = [...marks].sort(([a], [b]) => a - b).map(([one, { decision, why }]) =>
        [cases.id[one], decision, why].map(cell).join(","));
      const text = ["sample_id,decision,why", ...rows, ""].join("\r\n");
      const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
      made("a", { href: address, download: "decisions.csv" }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60000);
    };
    byId("review-clear").onclick = () => {
      if (confirm(`Forget all ${number(marks.size)} marks?`)) { mark([...marks.keys()], null); draw(); }
    };

    // --- Which, and in what order -----------------------------------------------------------

    function evidence(one) {
      const byScore = cases.p[one] !== null && cases.p[one] <= cases.byScore;
      const name = cases.finding[one] < 0 ? null : cases.findings[cases.finding[one]];
      if (name === null) return byScore ? "score" : "none";
      const kind = name in cases.triggers ? "shared" : "known";
      return byScore ? "both" : kind;
    }
    const KINDS = {
      score: "its own score", shared: "a trigger shared in its class",
      known: "a trigger from another set", both: "a trigger and its score", none: "neither",
    };
    const kinds = cases.id.map((_, one) => evidence(one));

    const option = (value, words) => made("option", { value, textContent: shown(words) });
    const counted = (values) => {
      const counts = new Map();
      for (const value of values) counts.set(value, (counts.get(value) || 0) + 1);
      return counts;
    };
    const ofClasses = counted(cases.class);
    byId("review-class").append(...[...ofClasses].sort((a, b) => b[1] - a[1]).map(([one, n]) =>
      option(one, `${cases.classes[one] || "(no label)"} (${number(n)})`)));
    byId("review-kind").append(...[...counted(kinds)].map(([kind, n]) =>
      option(kind, `${KINDS[kind]} (${number(n)})`)));
    byId("review-finding").append(...[...counted(cases.finding)].filter(([one]) => one >= 0)
      .map(([one, n]) => option(one, `${cases.findings[one]} (${number(n)})`)));
    byId("review-finding").append(option(-1, "no trigger"));

    const STATES = {
      removed: (one) => cases.removed[one],
      kept: (one) => !cases.removed[one],
      unmarked: (one) => !marks.has(one),
      marked: (one) => marks.has(one),
      keep: (one) => marks.get(one)?.decision === "keep",
      remove: (one) => marks.get(one)?.decision === "remove",
      reviewed: (one) => cases.before[one] !== null,
      all: () => true,
    };
    const last = (value) => (value === null ? Infinity : value);
    const byName = (a, b) => (cases.id[a] < cases.id[b] ? -1 : cases.id[a] > cases.id[b] ? 1 : 0);
    const away = (one) => Math.abs(cases.sure[one] === null ? Infinity : cases.sure[one]);
    const SORTS = {
      borderline: (a, b) => away(a) - away(b),
      surest: (a, b) => (cases.sure[b] ?? -Infinity) - (cases.sure[a] ?? -Infinity),
      p: (a, b) => last(cases.p[a]) - last(cases.p[b]),
      class: (a, b) => cases.classes[cases.class[a]].localeCompare(cases.classes[cases.class[b]]),
      name: byName,
    };

    function choose() {
      const value = (id) => byId(`review-${id}`).value;
      const most = value("p") === "" ? null : Number(value("p"));
      const asked = value("search").toLowerCase();
      order = [];
      for (let one = 0; one < total; one++) {
        if (STATES[value("state")](one)
          && (value("class") === "" || cases.class[one] === Number(value("class")))
          && (value("kind") === "" || kinds[one] === value("kind"))
          && (value("finding") === "" || cases.finding[one] === Number(value("finding")))
          && (most === null || (cases.p[one] !== null && cases.p[one] <= most))
          && (asked === "" || cases.id[one].toLowerCase().includes(asked)
            || cases.reasons[cases.reason[one]].toLowerCase().includes(asked))) order.push(one);
      }
      const sort = SORTS[value("sort")];
      order.sort((a, b) => sort(a, b) || byName(a, b));
      page = at = 0;
      draw();
    }
    for (const list of root.querySelectorAll(".review-tools select")) list.onchange = choose;
    for (const field of root.querySelectorAll(".review-tools input")) field.oninput = choose;
    for (const [id, decision] of [["keep-all", "keep"], ["remove-all", "remove"], ["clear-all", null]]) {
      byId(`review-${id}`).onclick = () => { mark(order, decision); draw(); };
    }

    // --- Pictures ---------------------------------------------------------------------------

    const addresses = new Map();
    function addressOf(name, text) {
      if (!addresses.has(name)) {
        addresses.set(name, URL.createObjectURL(new Blob([bytesOf(text)], { type: "image/webp" })));
      }
      return addresses.get(name);
    }

    // One square of a sheet, of which the picture fills the upper left.
    function fromSheet(address, place, inSheet, side, width, height) {
      const scale = Math.min(1, side / Math.max(width, height));
      const w = Math.max(1, Math.round(width * scale)), h = Math.max(1, Math.round(height * scale));
      const columns = cases.sheetColumns, rows = Math.ceil(inSheet / columns);
      const left = (place % columns) * side, top = Math.floor(place / columns) * side;
      const box = made("span", { className: "thumb" });
      Object.assign(box.style, {
        aspectRatio: `${w} / ${h}`,
        ...(w >= h ? { width: "100%" } : { height: "100%" }),
        backgroundImage: `url(${address})`,
        backgroundSize: `${(columns * side * 100) / w}% ${(rows * side * 100) / h}%`,
        backgroundPosition: `${(left * 100) / (columns * side - w)}% ${rows * side === h ? 0 : (top * 100) / (rows * side - h)}%`,
      });
      return box;
    }

    function thumbnail(one) {
      if (one in cases.errors) return made("span", { className: "none", textContent: shown(`cannot be shown: ${cases.errors[one]}`) });
      const sheet = Math.floor(one / cases.sheet), element = byId(`review-sheet-${sheet}`);
      const inSheet = Math.min(cases.sheet, total - sheet * cases.sheet);
      const thumb = fromSheet(addressOf(sheet, element.textContent), one % cases.sheet, inSheet,
        Number(element.dataset.side), cases.width[one], cases.height[one]);
      thumb.setAttribute("role", "img");
      thumb.setAttribute("aria-label", `Image ${shown(cases.id[one])}, ${cases.width[one]} by ${cases.height[one]} px`);
      return thumb;
    }

    // --- The grid ---------------------------------------------------------------------------

    function verdict(one) {
      if (cases.before[one] === null) return cases.removed[one] ? "removed" : "kept, near the line";
      const was = cases.before[one] ? "removed" : "kept";
      return cases.removed[one] ? `removed by review, freqsan had ${was} it` : `kept by review, freqsan had ${was} it`;
    }

    function facts(one) {
      const words = [];
      if (cases.classes[cases.class[one]]) words.push(`labelled ${shown(cases.classes[cases.class[one]])}`);
      if (cases.p[one] !== null) words.push(`p-value ${pValue(cases.p[one])}`);
      if (cases.finding[one] >= 0) words.push(`${shown(cases.findings[cases.finding[one]])} ${likely(cases.odds[one])}`);
      return words.join(" · ");
    }

    function buttons(one, after) {
      return ["keep", "remove"].map((decision) => {
        const pressed = marks.get(one)?.decision === decision;
        const button = made("button", {
          type: "button", className: decision, textContent: decision === "keep" ? "Keep" : "Remove",
          onclick: () => { mark([one], pressed ? null : decision); after(); },
        });
        button.setAttribute("aria-pressed", String(pressed));
        button.setAttribute("aria-label", `${button.textContent} ${shown(cases.id[one])}`);
        return button;
      });
    }

    function card(one, place) {
      const open = made("button", { type: "button", className: "open", onclick: () => look(place) },
        thumbnail(one));
      open.setAttribute("aria-label", `Look closely at ${shown(cases.id[one])}`);
      const item = made("li", { className: place === at ? "at" : "" }, made("div", { className: "frame" }, open),
        made("p", { className: "id" }, made("bdi", { textContent: shown(cases.id[one]) })),
        made("p", { textContent: facts(one) }),
        made("p", { className: "soft", textContent: verdict(one) }),
        made("div", { className: "marks" }, ...buttons(one, () => { at = place; draw(); })));
      if (marks.has(one)) item.dataset.mark = marks.get(one).decision;
      return item;
    }

    function draw(focus = false) {
      const pages = Math.max(1, Math.ceil(order.length / PAGE));
      page = Math.min(page, pages - 1);
      const first = page * PAGE, here = order.slice(first, first + PAGE);
      byId("review-grid").replaceChildren(...here.map((one, i) => card(one, first + i)));
      say(order.length ? `${number(first + 1)} to ${number(first + here.length)} of ${number(order.length)} images`
        : "No image is like that.");
      byId("review-page").textContent = `page ${number(page + 1)} of ${number(pages)}`;
      for (const [id, off] of [["first", !page], ["previous", !page], ["next", page === pages - 1], ["last", page === pages - 1]]) {
        byId(`review-${id}`).disabled = off;
      }
      byId("review-matching").textContent = number(order.length);
      count();
      if (focus) byId("review-grid").querySelector(".at .open")?.focus();
    }
    const go = (to) => { page = to; at = page * PAGE; draw(); root.scrollIntoView(); };
    byId("review-first").onclick = () => go(0);
    byId("review-previous").onclick = () => go(page - 1);
    byId("review-next").onclick = () => go(page + 1);
    byId("review-last").onclick = () => go(Math.ceil(order.length / PAGE) - 1);

    // --- A close look -----------------------------------------------------------------------

    const dialog = byId("review-dialog");

    function coloured(values, colours) {
      const canvas = made("canvas", { width: 32, height: 32, className: "map" });
      const picture = new ImageData(32, 32);
      values.forEach((value, i) => {
        picture.data.set(colours.subarray(3 * value, 3 * value + 3), 4 * i);
        picture.data[4 * i + 3] = 255;
      });
      canvas.getContext("2d").putImageData(picture, 0, 0);
      return canvas;
    }
    function figure(words, small, ...pictures) {
      return made("figure", {}, made("figcaption", { textContent: words }, made("small", { textContent: small })), ...pictures);
    }
    const described = (canvas, words) => {
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", words);
      return canvas;
    };

    function framed(one, seen) {
      const width = cases.width[one], height = cases.height[one];
      const small = Math.max(width, height) <= 96;
      const holder = made("div", { className: small ? "large small-image" : "large" });
      holder.style.aspectRatio = `${width} / ${height}`;
      holder.style.maxWidth = `${Math.min(1, width / height) * 30}rem`;
      if (seen) {
        holder.append(made("img", {
          src: addressOf(`close-${one}`, seen.picture),
          alt: `Image ${shown(cases.id[one])}, ${width} by ${height} px`,
        }));
        if (seen.box) {
          const [left, top, w, h] = seen.box.map((share) => `${100 * share}%`);
          const box = made("span", { className: "box" });
          Object.assign(box.style, { left, top, width: w, height: h });
          holder.append(box);
        }
      } else {
        holder.append(thumbnail(one));
      }
      return holder;
    }

    function spectra(seen) {
      const own = bytesOf(seen.spectrum), usual = bytesOf(close.mean);
      const magma = bytesOf(close.magma), diverging = bytesOf(close.diverging);
      const difference = own.map((value, i) => Math.max(0, Math.min(255, 128 + 2 * (value - usual[i]))));
      return [
        figure("its spectrum", "brighter: more of it", described(coloured(own, magma), "Spectrum of this image")),
        figure("mean of kept images", `${number(close.meanOf)} of them`, described(coloured(usual, magma), "Mean spectrum of kept images")),
        figure("difference", "red: more than usual", described(coloured(difference, diverging), "Difference of the two spectra")),
      ];
    }

    function neighbour(place) {
      const near = close.near[place], sheet = Math.floor(place / cases.sheet);
      const inSheet = Math.min(cases.sheet, close.near.length - sheet * cases.sheet);
      const { data, side } = close.nearSheets[sheet];
      const thumb = fromSheet(addressOf(`near-${sheet}`, data), place % cases.sheet, inSheet, side, near.width, near.height);
      described(thumb, `Kept image ${shown(near.id)}`);
      return made("li", {}, made("div", { className: "frame" }, thumb), made("bdi", { textContent: shown(near.id) }));
    }

    async function look(place) {
      at = place;
      page = Math.floor(place / PAGE);
      close ??= await unpacked("review-close");
      const one = order[place], seen = close.images[one];
      const why = made("input", {
        type: "text", value: marks.get(one)?.why || "", maxLength: 300, id: "review-why",
        oninput: () => {
          const decision = marks.get(one)?.decision || (cases.removed[one] ? "remove" : "keep");
          marks.set(one, { decision, why: why.value });
          store();
          count();
        },
      });
      const step = (by, words) => made("button", {
        type: "button", textContent: words, disabled: !(place + by in order), onclick: () => look(place + by),
      });
      const name = cases.finding[one] < 0 ? null : cases.findings[cases.finding[one]];
      const trigger = name === null ? null : cases.triggers[name];
      const marked = seen?.box ? (trigger ? "The frame is around what the shared trigger covers." : "The frame is around the place that raises its score most.") : "";
      const beside = [];
      if (seen) beside.push(...spectra(seen));
      if (trigger?.picture) {
        beside.push(figure("the recovered trigger", name, made("img", { className: "map", src: trigger.picture, alt: `The trigger of ${name}, amplified` })));
      }
      const near = seen?.near.length ? [made("h4", { textContent: "Kept images of the same class that look most like it" }),
        made("ul", { className: "near" }, ...seen.near.map(neighbour))] : [];
      const reason = made("p", { textContent: shown(cases.reasons[cases.reason[one]]) });
      if (trigger?.page) reason.append(" ", made("a", { href: trigger.page, textContent: `more on ${name}` }));
      byId("review-closer").replaceChildren(
        made("div", { className: "head" }, made("h3", {}, made("bdi", { textContent: shown(cases.id[one]) })),
          made("button", { type: "button", textContent: "Close", onclick: () => dialog.close() })),
        made("div", { className: "closer" }, framed(one, seen), made("div", {},
          made("p", {}, made("strong", { textContent: verdict(one) }), ` · ${facts(one)} · ${cases.width[one]}×${cases.height[one]} px`),
          reason,
          ...(cases.why[one] ? [made("p", { textContent: `The reviewer wrote: ${shown(cases.why[one])}` })] : []),
          made("div", { className: "marks" }, ...buttons(one, () => look(place)), step(-1, "Previous"), step(1, "Next")),
          made("label", { className: "note" }, "Why (if you like) ", why),
          ...(marked ? [made("p", { className: "small soft", textContent: marked })] : []),
          ...(seen ? [] : [made("p", { className: "small soft", textContent: "Spectrum and neighbours are in this page for the images nearest the line; this one is not among them." })]),
          made("div", { className: "spectra" }, ...beside), ...near)));
      if (!dialog.open) dialog.showModal();
    }
    dialog.addEventListener("close", () => draw(true));

    // --- Keys -------------------------------------------------------------------------------

    document.addEventListener("keydown", (event) => {
      const within = dialog.open || root.contains(document.activeElement) || root.matches(":hover");
      if (!within || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select")) return;
      const one = order[at];
      const again = () => (dialog.open ? look(at) : draw(true));
      const move = (by) => {
        if (!(at + by in order)) return;
        at += by;
        page = Math.floor(at / PAGE);
        again();
      };
      const act = {
        k: () => { mark([one], "keep"); again(); },
        r: () => { mark([one], "remove"); again(); },
        u: () => { mark([one], null); again(); },
        ArrowRight: () => move(1),
        ArrowLeft: () => move(-1),
      }[event.key];
      if (!act || one === undefined) return;
      event.preventDefault();
      act();
    });

    choose();
  }
})();
