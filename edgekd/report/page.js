"use strict";
// Sort a table by a column; what is missing (order "inf") stays last either way.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((a, b) => compare(a.cells[column], b.cells[column], down));
      body.append(...rows);
    });
  });
}
function compare(a, b, down) {
  const [x, y] = [a.dataset.order, b.dataset.order];
  if (x === undefined || y === undefined) {
    const order = a.textContent.localeCompare(b.textContent, "en", { numeric: true });
    return down ? -order : order;
  }
  if (x === y) return 0;
  if (x === "inf") return 1;
  if (y === "inf") return -1;
  return down ? y - x : x - y;
}
// What is folded on the screen is not lost on paper.
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details:not([open])")) {
    folded.open = true;
    folded.dataset.folded = "";
  }
});
addEventListener("afterprint", () => {
  for (const folded of document.querySelectorAll("details[data-folded]")) {
    folded.open = false;
    delete folded.dataset.folded;
  }
});
