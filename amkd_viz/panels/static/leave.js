// Pictures leave a panel: as SVG, as PNG at twice the size, to the clipboard. What is seen is written once more: canvases
// by their own painters with a pen that writes SVG, words line by line, small drawings as they are.

const NEVER = "button, input, select, textarea, progress, .amkd-asked, .amkd-runs, .amkd-scrubber, .amkd-bar, .widget-slider";
const DRAWN = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font", "text-anchor"];

const frames = (count) => new Promise((done) => (count ? requestAnimationFrame(() => frames(count - 1).then(done)) : done()));

// The pictures of a panel as the text of an SVG file.
async function svgOf(panel) {
  const area = panel.querySelector(".amkd-pictures"), canvases = [...area.querySelectorAll("canvas")];
  for (const canvas of canvases) canvas.amkdPen = true; // ``fitted`` in pen.js puts the pen here
  document.dispatchEvent(new Event("amkd-draw"));
  await frames(3);
  const box = area.getBoundingClientRect(), parts = [], pad = 10;
  const colours = coloursOf(area), title = panel.querySelector(".amkd-head b")?.textContent ?? "";
  const status = panel.querySelector(".amkd-status > span")?.textContent ?? "";
  collect(area, { x: box.left - pad, y: box.top - 40 }, box, parts);
  for (const canvas of canvases) delete canvas.amkdPen;
  const width = Math.ceil(box.width + 2 * pad), height = Math.ceil(box.height + 40 + pad);
  const head = `<text x="${pad}" y="24" style="font:13px system-ui, sans-serif" fill="${colours.ink}"><tspan font-weight="700">${escaped(title)}</tspan> ${escaped(status)}</text>`;
  return {
    width, height,
    text: `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"><rect width="100%" height="100%" fill="${colours.paper}"/>${head}${parts.join("")}</svg>`,
  };
}

function collect(element, origin, clip, parts) {
  for (const node of element.childNodes) {
    if (node.nodeType === Node.TEXT_NODE) lines(node, origin, clip, parts);
    if (node.nodeType !== Node.ELEMENT_NODE || node.matches(NEVER) || !node.checkVisibility()) continue;
    const box = node.getBoundingClientRect(), style = getComputedStyle(node);
    const at = `translate(${short2(box.left - origin.x)} ${short2(box.top - origin.y)})`;
    if (!box.width || !box.height) {
      collect(node, origin, clip, parts);
    } else if (node.tagName === "CANVAS") {
      const { amkdPen } = node, whole = `width="${short2(box.width)}" height="${short2(box.height)}"`;
      if (amkdPen?.vector) parts.push(`<g transform="${at}">${amkdPen.svg()}</g>`);
      else if (node.width && node.height) parts.push(`<image transform="${at}" ${whole} style="image-rendering:pixelated" href="${node.toDataURL()}"/>`);
    } else if (node.tagName === "svg") {
      parts.push(`<g transform="${at}">${inlined(node).innerHTML}</g>`);
    } else {
      if (!/, 0\)$|transparent/.test(style.backgroundColor) && overlaps(box, clip)) {
        parts.push(`<rect transform="${at}" width="${short2(box.width)}" height="${short2(box.height)}" fill="${style.backgroundColor}" opacity="${style.opacity}"/>`);
      }
      collect(node, origin, style.overflowY === "visible" ? clip : box, parts);
    }
  }
}

const overlaps = (a, b) => a.top + a.height / 2 > b.top && a.top + a.height / 2 < b.bottom;

// The words of a text node, a line at a time, where they stand.
function lines(node, origin, clip, parts) {
  const range = document.createRange(), found = [];
  for (const word of node.data.matchAll(/\S+/g)) {
    range.setStart(node, word.index);
    range.setEnd(node, word.index + word[0].length);
    const box = range.getBoundingClientRect(), line = found.at(-1);
    if (!box.width || !overlaps(box, clip)) continue;
    if (line && Math.abs(line.box.top - box.top) < 2) line.words.push(word[0]);
    else found.push({ box, words: [word[0]] });
  }
  if (!found.length) return;
  const style = getComputedStyle(node.parentElement);
  const font = `font:${style.fontWeight} ${style.fontSize} ${style.fontFamily.replaceAll('"', "'")}`;
  for (const { box, words } of found) {
    const place = `x="${short2(box.left - origin.x)}" y="${short2(box.top + box.height / 2 - origin.y)}"`;
    parts.push(`<text ${place} dominant-baseline="central" style="${escaped(font)}" fill="${style.color}">${escaped(words.join(" "))}</text>`);
  }
}

// A copy of a drawing that needs no style sheet.
function inlined(drawing) {
  const copy = drawing.cloneNode(true), from = drawing.querySelectorAll("*");
  copy.querySelectorAll("*").forEach((part, i) => {
    const style = getComputedStyle(from[i]);
    part.setAttribute("style", DRAWN.map((name) => `${name}:${style.getPropertyValue(name)}`).join(";").replaceAll('"', "'"));
    part.removeAttribute("class");
  });
  return copy;
}

async function pngOf(panel, scale = 2) {
  const { text, width, height } = await svgOf(panel), image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: scale * width, height: scale * height });
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done));
}

function download(blob, name) {
  const link = make(null, "a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// The menu of the head: how the pictures leave.
function pictureMenu(panel, say) {
  const head = panel.querySelector(".amkd-head");
  if (!head) return () => {};
  const menu = make(head, "details", { class: "amkd-menu amkd-rare" });
  make(menu, "summary", { class: "jupyter-button", title: "The pictures as a file, or to the clipboard" }, "Picture");
  const row = make(menu, "div"), name = panel.querySelector(".amkd-head b").textContent;
  const act = (label, title, action) => {
    make(row, "button", { class: "jupyter-button", title }, label).addEventListener("click", async () => {
      menu.open = false;
      try {
        say(await action());
      } catch (error) {
        say(`The picture could not leave: ${error.message}`);
      }
    });
  };
  act("PNG", "A file at twice the size", async () => (download(await pngOf(panel), `${name}.png`), `Wrote ${name}.png.`));
  act("SVG", "A file of lines and words, to edit", async () => {
    download(new Blob([(await svgOf(panel)).text], { type: "image/svg+xml" }), `${name}.svg`);
    return `Wrote ${name}.svg.`;
  });
  act("Copy", "To the clipboard, at twice the size", async () => {
    await navigator.clipboard.write([new ClipboardItem({ "image/png": pngOf(panel) })]);
    return "Copied the pictures.";
  });
  return () => menu.remove();
}
