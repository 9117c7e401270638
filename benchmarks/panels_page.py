"""What runs in the page for :mod:`benchmarks.panels`: press a key, and wait for the frame that shows its effect."""

from __future__ import annotations

# Until a script holds, looked at whenever the page has changed; then the frame has still to come to the screen.
# window.amkdStatus: the texts of the status line since. window.amkdSum(): the objective reads otherwise.
# window.amkdDrawn(root, side): a canvas has drawn a new frame.
HELPERS = """
    const watch = (until, act) => new Promise((resolve, reject) => {
        const line = document.querySelector('.amkd-status'), before = new Map();
        for (const root of document.querySelectorAll('[data-serial]')) before.set(root, root.dataset.serial);
        window.amkdStatus = [];
        const sums = () => [...document.querySelectorAll('.amkd-panel code')].map((code) => code.textContent).join();
        const sum = sums();
        window.amkdSum = () => sums() !== sum;
        window.amkdDrawn = (selector, side) => {
            const root = document.querySelector(selector);
            return root && root.dataset.serial !== before.get(root) && root.dataset.side === side
                && !line?.textContent.includes('...');
        };
        const holds = new Function(`return Boolean(${until})`);
        const begun = performance.now();
        const observer = new MutationObserver((changes) => {
            for (const change of changes) {
                if (line && line.contains(change.target)) window.amkdStatus.push(line.textContent);
            }
            if (!holds()) return;
            observer.disconnect();
            clearTimeout(limit);
            requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - begun), 0));
        });
        const about = { subtree: true, childList: true, characterData: true, attributes: true };
        observer.observe(document.querySelector('.jp-Notebook'), about);
        const limit = setTimeout(() => (observer.disconnect(), reject(new Error(`never: ${until}`))), 15000);
        act();
    });
    const named = (label) => [...document.querySelectorAll(`.noUi-handle[aria-label="${label}"]`)];
    const slider = (label) => named(label).find((handle) => handle.offsetParent)
        || [...document.querySelectorAll('.widget-slider')]
            .find((box) => box.querySelector('.widget-label')?.textContent === label).querySelector('.noUi-handle');
    const press = (handle, key) => handle.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
"""

PRESS = f"""async ([label, key, until]) => {{
    {HELPERS}
    const handle = slider(label);
    return await watch(until, () => press(handle, key));
}}"""

# From the last event to the last change of the panel before half a second without any.
BURST = f"""async ([label, key, count]) => {{
    {HELPERS}
    const handle = slider(label), panel = document.querySelector('.amkd-panel');
    let last = 0;
    const observer = new MutationObserver(() => {{ last = performance.now(); }});
    observer.observe(panel, {{ subtree: true, childList: true, characterData: true, attributes: true }});
    for (let i = 0; i < count; i++) press(handle, key);
    const begun = performance.now();
    while (performance.now() - Math.max(begun, last) < 500) await new Promise((done) => setTimeout(done, 20));
    observer.disconnect();
    return Math.max(0, last - begun);
}}"""

# Run the cell again, until a new panel is there for which the script ``until`` holds; in it, ``panel`` is its element.
FIRST_PAINT = """async (until) => {
    const holds = new Function('panel', `return Boolean(${until})`);
    const old = document.querySelector('.amkd-panel');
    const begun = performance.now();
    const there = () => [...document.querySelectorAll('.amkd-panel')].some(
        (panel) => panel !== old && holds(panel));
    const shown = new Promise((resolve, reject) => {
        const observer = new MutationObserver(() => {
            if (!there()) return;
            observer.disconnect();
            requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - begun), 0));
        });
        observer.observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
        setTimeout(() => reject(new Error('no panel')), 20000);
    });
    window.jupyterapp.commands.execute('notebook:run-cell');
    return await shown;
}"""

# Count for ``seconds``: pictures of maps, changes of curves, frames of the page, each per second.
RATES = """async (seconds) => {
    const maps = document.querySelector('.amkd-maps'), curves = document.querySelector('.amkd-curves');
    const count = { maps: 0, curves: 0, page: 0 };
    const observer = (root, name) => {
        const made = new MutationObserver(() => { count[name] += 1; });
        made.observe(root, { attributes: true, attributeFilter: ['data-drawn'] });
        return made;
    };
    const made = [observer(maps, 'maps'), observer(curves, 'curves')];
    const begun = performance.now();
    while (performance.now() - begun < 1000 * seconds) {
        await new Promise(requestAnimationFrame);
        count.page += 1;
    }
    for (const each of made) each.disconnect();
    for (const name of Object.keys(count)) count[name] /= (performance.now() - begun) / 1000;
    return count;
}"""
