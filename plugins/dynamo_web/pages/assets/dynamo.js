// What pages do besides being read: the theme of Airflow around them, tables that are sorted by a heading, and links to
// Airflow's own pages, which open around us and not within.
"use strict";

(() => {
  const root = document.documentElement;
  const isFramed = window.parent !== window;

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

  if (isFramed) {
    try {
      follow();
    } catch {
      // a frame of somebody else: the theme of the system stays
    }
  }

  // Airflow's page is a program that shows another address when it is told that the address has changed. Where that
  // does not work, the link is followed as any other.
  function leave(event) {
    if (!isFramed || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    try {
      const outside = window.parent;
      outside.history.pushState({}, "", event.currentTarget.href);
      outside.dispatchEvent(new outside.PopStateEvent("popstate", { state: {} }));
      event.preventDefault();
    } catch {
      // a frame of somebody else
    }
  }

  // A link to another host would open in the frame, which many hosts forbid, and the frame lets no window open: the
  // page around it opens one.
  function open(event) {
    if (!isFramed) return;
    try {
      const outside = window.parent.document;
      const link = Object.assign(outside.createElement("a"), { href: event.currentTarget.href, target: "_blank", rel: "noopener" });
      outside.body.append(link);
      link.click();
      link.remove();
      event.preventDefault();
    } catch {
      // a frame of somebody else
    }
  }

  for (const link of document.querySelectorAll("a[href^='http']")) {
    if (new URL(link.href).host !== location.host) link.addEventListener("click", open);
  }

  for (const link of document.querySelectorAll("a[data-airflow], a[href*='/dags/']")) {
    link.addEventListener("click", leave);
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
    for (const other of heading.parentElement.children) other.removeAttribute("aria-sort");
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

  // Where an address names a part of a page that is folded, it is unfolded.
  const part = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (part) for (const fold of part.querySelectorAll("details:not(.act)")) fold.open = true;
})();
