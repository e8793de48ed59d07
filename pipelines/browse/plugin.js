(settings) => {
  for (const [key, value] of Object.entries(settings.stored)) {
    if (localStorage.getItem(key) === null) localStorage.setItem(key, value);
  }
  const style = document.createElement("style");
  style.textContent = `
    #panoptic-legend {
      position: fixed; inset: auto 0 0 0; z-index: 1100; height: 28px; display: flex; gap: 1rem; align-items: center;
      justify-content: center; padding: 0 1rem; overflow: hidden; white-space: nowrap; font: 12px/1 system-ui, sans-serif;
      color: var(--fo-palette-text-primary); background: var(--fo-palette-background-level1);
      border-top: 1px solid var(--fo-palette-primary-plainBorder);
    }
    #panoptic-legend span { display: flex; gap: .4rem; align-items: center; }
    #panoptic-legend i { width: 12px; height: 12px; border-radius: 3px; box-sizing: border-box; }
    #root { height: calc(100% - 28px) !important; }`;
  const legend = document.createElement("div");
  legend.id = "panoptic-legend";
  const entry = (text, look, title) => {
    const item = document.createElement("span");
    const swatch = document.createElement("i");
    swatch.style.cssText = look;
    item.title = title;
    item.append(swatch, text);
    legend.append(item);
  };
  entry("ground truth", "border: 2px solid currentColor", "Outlines are the ground truth");
  entry("prediction", "background: currentColor; opacity: .5", "Filled shapes are predictions");
  for (const { name, color, meaning } of settings.outcomes) entry(name, `background: ${color}`, meaning);
  document.head.append(style);
  document.body.append(legend);
}
