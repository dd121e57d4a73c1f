"use strict";
// Sorts and filters tables. Without it they are whole, in their first order.
(() => {
  const value = (cell) => {
    const number = Number.parseFloat(cell?.dataset.value);
    return Number.isNaN(number) ? null : number;
  };

  const compare = (column, numeric, sign) => (one, other) => {
    const [a, b] = [one.cells[column], other.cells[column]];
    if (!numeric) return sign * a.textContent.trim().localeCompare(b.textContent.trim());
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (x - y);
  };

  const sortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    const sort = (head, column) => {
      const numeric = head.classList.contains("number");
      const first = head.dataset.first ?? (numeric ? "descending" : "ascending");
      const second = first === "ascending" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? second : first;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      for (const body of table.querySelectorAll("tbody:not(.bounds)")) {
        const rows = [...body.rows].filter((row) => !row.classList.contains("heading"));
        rows.sort(compare(column, numeric, order === "ascending" ? 1 : -1));
        body.append(...rows);
      }
    };
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(head, column));
      head.append(button);
    });
  };

  const filterable = (form) => {
    const table = document.getElementById(form.dataset.table);
    const bodies = [...table.querySelectorAll("tbody:not(.bounds)")];
    const rows = bodies.flatMap((body) => [...body.rows].filter((row) => !row.classList.contains("heading")));
    const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    const told = form.querySelector("output");
    const filter = () => {
      const { words, tuned, fixed, ranked, inputs } = form.elements;
      const asked = words.value.toLowerCase().split(/\s+/u);
      let shown = 0;
      for (const row of rows) {
        const { kind, ranked: placed, inputs: pooled } = row.dataset;
        const kept =
          (kind === "tuned" ? tuned.checked : fixed.checked) &&
          (!ranked.checked || placed === "yes") &&
          (!inputs.checked || pooled === "yes") &&
          asked.every((word) => texts.get(row).includes(word));
        row.hidden = !kept;
        shown += kept;
      }
      for (const body of bodies) body.hidden = [...body.rows].every((row) => row.hidden || row.matches(".heading"));
      told.textContent = shown === rows.length ? "" : `${shown} of ${rows.length} rows`;
    };
    form.hidden = false;
    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    filter();
  };

  document.querySelectorAll("table.sortable").forEach(sortable);
  document.querySelectorAll("form.filter").forEach(filterable);
})();
