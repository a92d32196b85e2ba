// What pages do besides being read: the theme of Airflow around them, and tables that are sorted by a heading.
"use strict";

(() => {
  const root = document.documentElement;

  function follow() {
    const outside = window.parent.document.documentElement;
    const set = () => {
      const dark = outside.classList.contains("dark");
      const light = outside.classList.contains("light");
      if (dark || light) root.dataset.theme = dark ? "dark" : "light";
    };
    set();
    new MutationObserver(set).observe(outside, { attributes: true, attributeFilter: ["class"] });
  }

  if (window.parent !== window) {
    try {
      follow();
    } catch {
      // a frame of somebody else: the theme of the system stays
    }
  }

  const key = (row, column) => row.children[column].dataset.by ?? "";

  function compare(one, other) {
    if (one === "" || other === "") return (one === "") - (other === "");
    const [a, b] = [Number(one), Number(other)];
    if (!Number.isNaN(a) && !Number.isNaN(b)) return a - b;
    return one < other ? -1 : Number(one > other);
  }

  function sort(heading, column) {
    const body = heading.closest("table").tBodies[0];
    const descending = heading.getAttribute("aria-sort") === "ascending";
    for (const each of heading.parentElement.children) each.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const rows = [...body.rows].sort((one, other) => compare(key(one, column), key(other, column)));
    body.append(...(descending ? rows.reverse() : rows));
  }

  for (const table of document.querySelectorAll("table")) {
    if (table.tBodies[0].rows.length < 2) continue;
    [...table.tHead.rows[0].children].forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = heading.textContent;
      heading.replaceChildren(button);
      button.addEventListener("click", () => sort(heading, column));
    });
  }
})();
