// Fills the choice of a version in the sidebar from versions.json; it stays hidden while there is one version.
(() => {
  const box = document.querySelector(".versions");
  if (!box || location.protocol === "file:") return; // a page on disk may read no other file
  const root = new URL(document.documentElement.dataset.content_root, location.href);
  const file = new URL(box.dataset.file, location.href);
  const page = location.href.slice(root.href.length);

  const show = (versions) => {
    if (versions.length < 2) return;
    const select = box.querySelector("select");
    for (const { version, title, url } of versions) {
      const option = new Option(title || version, new URL(url, file).href);
      option.selected = version === box.dataset.version;
      select.add(option);
    }
    select.addEventListener("change", async () => {
      const same = new URL(page, select.value); // the same page, or the first one where that version has no such page
      const there = await fetch(same, { method: "HEAD" }).then((r) => r.ok, () => false);
      location.href = there ? same : select.value;
    });
    box.hidden = false;
  };

  fetch(file)
    .then((response) => (response.ok ? response.json() : []))
    .then(show, () => {}); // without the list there is no choice, and nothing else is lost
})();
