// The text of a policy, checked while it is typed: what REST says of it, with line and column.
"use strict";

(() => {
  const ui = document.querySelector("base").getAttribute("href").replace(/\/$/, "");
  const text = document.querySelector("textarea[name='policy']");
  const told = document.getElementById("checked");
  if (!text || !told) return;
  let waiting = null;
  let turn = 0;

  async function check() {
    const mine = (turn += 1);
    const answer = await fetch(`${ui.replace(/\/ui$/, "/v1")}/policies/lint`, {
      method: "POST",
      headers: { "X-Dynamo": "1", "Content-Type": "application/json" },
      body: JSON.stringify({ text: text.value }),
    });
    const document_ = await answer.json();
    if (mine !== turn) return;
    if (!answer.ok) {
      told.className = "warn";
      told.textContent = document_.detail;
      return;
    }
    told.className = document_.is_policy ? "good" : "stop";
    const list = document.createElement("ul");
    for (const notice of document_.notices) {
      const item = document.createElement("li");
      item.textContent = `line ${notice.line}, column ${notice.column}: ${notice.message.replace(/^policy:\d+:\d+: /, "")}`;
      item.className = "message";
      list.append(item);
    }
    const all = document_.is_policy ? `It is a policy of ${document_.num_lines} lines.` : "It is no policy:";
    told.replaceChildren(all, ...(list.children.length ? [list] : []));
  }

  text.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(check, 500);
  });
  text.closest("details").open = true;
  check();
})();
