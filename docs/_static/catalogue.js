// The filter of the catalogue: words, families, what the reader has, and exactness. Its state stands in the address.
(() => {
  "use strict";
  const form = document.getElementById("catalogue-filter");
  if (!form) return;
  const count = document.getElementById("catalogue-count");
  const [METHOD, NEEDS, RESULT, CLASSES, DIFFERS] = [0, 1, 3, 4, 5]; // columns
  const fold = (text) => " " + text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ").trim();
  const searched = (cells) => [cells[METHOD], cells[CLASSES].querySelector("p"), cells[DIFFERS]];

  const sections = [...document.querySelectorAll("section[id]")].filter(
    (section) => section.querySelector("table.catalogue") && !section.contains(form),
  );
  const boxes = (name) => [...form.querySelectorAll(`[name="${name}"]`)];
  const families = boxes("family").map((box) => box.value);
  const rows = [...document.querySelectorAll("table.catalogue tbody tr")].map((element) => ({
    element,
    text: fold(searched(element.cells).map((part) => part.textContent).join(" ")),
    family: families.find((family) => element.closest(`section[id="${family}"]`)),
    needs: element.cells[NEEDS].querySelector("p").textContent.split(/,\s*/),
    exact: element.cells[RESULT].textContent.trim().startsWith("exact"),
  }));
  const headings = document.querySelectorAll("table.catalogue thead tr");
  const names = headings.length ? [...headings[0].cells].map((cell) => cell.textContent.trim()) : [];
  for (const { element } of rows) // what a cell is about, where a narrow page shows rows as cards
    [...element.cells].forEach((cell, i) => (cell.dataset.label = names[i]));

  for (const family of families) // the picture and the text of a chapter
    for (const part of document.getElementById(family).children)
      if (part.matches("img, p, div:not(.table-wrapper)")) part.classList.add("catalogue-about");

  const checked = (name) => boxes(name).filter((box) => box.checked).map((box) => box.value);

  function show() {
    const words = fold(form.elements.q.value).split(" ").filter(Boolean).map((word) => " " + word); // how words begin
    const family = checked("family");
    const lacks = boxes("have").filter((box) => !box.checked).map((box) => box.value);
    const exact = form.elements.exact.checked;
    let left = 0;
    for (const row of rows) {
      const stays =
        words.every((word) => row.text.includes(word)) &&
        family.includes(row.family) &&
        !row.needs.some((need) => lacks.includes(need)) &&
        (!exact || row.exact);
      row.element.hidden = !stays;
      left += stays;
    }
    document.body.classList.toggle("catalogue-filtered", left < rows.length); // what chapters are about gives way
    for (const section of sections) section.hidden = !section.querySelector("table.catalogue tbody tr:not([hidden])");
    count.textContent = left ? `${left} of ${rows.length} methods` : "No method is left. Check more boxes, or change the words.";
  }

  function write() {
    const state = new URLSearchParams();
    if (form.elements.q.value.trim()) state.set("q", form.elements.q.value.trim());
    for (const name of ["family", "have"])
      if (boxes(name).some((box) => !box.checked)) state.set(name, checked(name).join("."));
    if (form.elements.exact.checked) state.set("exact", "1");
    const query = state.toString();
    history.replaceState(null, "", query ? `#?${query}` : location.pathname + location.search);
  }

  function read() {
    if (location.hash && !location.hash.startsWith("#?")) return; // the anchor of a heading
    const state = new URLSearchParams(location.hash.slice(2));
    form.elements.q.value = state.get("q") ?? "";
    for (const name of ["family", "have"]) {
      const values = state.get(name)?.split(".");
      for (const box of boxes(name)) box.checked = !values || values.includes(box.value);
    }
    form.elements.exact.checked = state.get("exact") === "1";
    show();
  }

  form.addEventListener("input", () => { write(); show(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { write(); show(); }));
  addEventListener("hashchange", read);
  form.hidden = false;
  read();
  show();
})();
