// The figure follows the section that is being read.
(() => {
  const frame = document.getElementById("amkd-figure"), base = frame.src;
  let shown = null;
  const show = (section) => {
    if (section === shown) return;
    shown = section;
    for (const other of document.querySelectorAll("section[data-state]")) other.classList.toggle("amkd-read", other === section);
    const state = new URLSearchParams({ v: 1, data: "spirals", seed: 0, labels: 100 });
    for (const [key, value] of new URLSearchParams(section.dataset.state)) state.set(key, value);
    frame.contentWindow.location.replace(`${base}#${state}`);
  };
  const watch = new IntersectionObserver((seen) => seen.filter((one) => one.isIntersecting).forEach((one) => show(one.target)), { rootMargin: "-55% 0px -40%" });
  for (const section of document.querySelectorAll("section[data-state]")) watch.observe(section);
})();
