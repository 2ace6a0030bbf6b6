
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const rowsOf = (body) => [...body.rows].filter((row) => row.className !== "group");
  const value = (row, i) => row.cells[i].dataset.value ?? row.cells[i].textContent;
  heads.forEach((head, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const number = "number" in head.dataset;
      const up = head.ariaSort ? head.ariaSort === "descending" : !number;
      const sign = up ? 1 : -1;
      const compare = (a, b) => {
        const x = value(a, i), y = value(b, i);
        if (x === "" || y === "") return (x === "") - (y === "");
        return sign * (number ? x - y : x.localeCompare(y));
      };
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      for (const body of table.tBodies) body.append(...rowsOf(body).sort(compare));
    });
  });
}

// The filter hides the table rows and workloads that do not contain its words.
const filter = document.getElementById("filter");
const text = document.getElementById("filter-text");
const items = [...document.querySelectorAll("table.sortable tbody tr:not(.group), details.workload")].map((element) => [element, element.textContent.toLowerCase()]);
filter.hidden = items.length === 0;
text.addEventListener("input", () => {
  const words = text.value.toLowerCase().split(/\s+/).filter((word) => word !== "");
  let shown = 0;
  for (const [element, content] of items) {
    element.hidden = !words.every((word) => content.includes(word));
    shown += element.hidden ? 0 : 1;
  }
  document.getElementById("filter-count").textContent = words.length === 0 ? "" : `${shown} of ${items.length} rows`;
});
