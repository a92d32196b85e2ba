// Forms that are sent to REST: first what it would do is shown, then it is done. A page never does anything by itself.
"use strict";

(() => {
  const ui = document.querySelector("base").getAttribute("href").replace(/\/$/, "");
  const rest = ui.replace(/\/ui$/, "/v1");
  const SIZES = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

  function size(bytes) {
    let amount = Math.abs(bytes);
    let unit = 0;
    while (amount >= 1000 && unit < SIZES.length - 1) {
      amount /= 1000;
      unit += 1;
    }
    return `${bytes < 0 ? "-" : ""}${unit ? amount.toFixed(2) : amount} ${SIZES[unit]}`;
  }

  function words(name) {
    return name.replace(/^num_/, "number of ").replace(/_bytes$/, "").replaceAll("_", " ");
  }

  function written(name, figure) {
    if (figure === null || figure === "") return "–";
    if (/^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(figure)) return figure.slice(0, 16).replace("T", " ");
    if (typeof figure === "boolean") return figure ? "yes" : "no";
    if (typeof figure !== "number") return String(figure);
    return name.endsWith("_bytes") ? size(figure) : figure.toLocaleString("en");
  }

  function table(rows) {
    const names = Object.keys(rows[0]);
    const made = document.createElement("table");
    const head = made.createTHead().insertRow();
    for (const name of names) head.append(Object.assign(document.createElement("th"), { textContent: words(name) }));
    const body = made.createTBody();
    for (const row of rows.slice(0, 50)) {
      const line = body.insertRow();
      for (const name of names) line.insertCell().textContent = typeof row[name] === "object" && row[name] ? JSON.stringify(row[name]) : written(name, row[name]);
    }
    return made;
  }

  // What is not there need not be read; of files and bytes it is said that there are none.
  function isNothing(name, figure) {
    if (figure === 0) return !["num_files", "size_bytes"].includes(name);
    return figure === null || figure === false || figure === "" || (typeof figure === "object" && Object.values(figure).every((part) => part === 0 || part === null));
  }

  function shown(answer) {
    const parts = document.createDocumentFragment();
    const facts = document.createElement("dl");
    facts.className = "facts";
    for (const [name, figure] of Object.entries(answer)) {
      if (["dry_run", "etag", "id", "summary", "errand", "run"].includes(name) || isNothing(name, figure)) continue;
      if (Array.isArray(figure) && figure.length && typeof figure[0] === "object") {
        const scroll = document.createElement("div");
        scroll.className = "scroll";
        scroll.tabIndex = 0;
        scroll.append(table(figure));
        parts.append(Object.assign(document.createElement("h4"), { textContent: words(name) }), scroll);
        continue;
      }
      const plain = figure && typeof figure === "object" ? Object.entries(figure).map(([key, one]) => (Array.isArray(figure) ? one : `${words(key)}: ${written(key, one)}`)).join(", ") : written(name, figure);
      const pair = document.createElement("div");
      pair.append(Object.assign(document.createElement("dt"), { textContent: words(name) }), Object.assign(document.createElement("dd"), { textContent: plain || "–" }));
      facts.append(pair);
    }
    parts.prepend(facts);
    return parts;
  }

  function said(form, tone, ...parts) {
    const outcome = form.querySelector(".outcome");
    outcome.className = `outcome ${tone}`;
    outcome.replaceChildren(...parts);
  }

  const line = (text) => Object.assign(document.createElement("p"), { textContent: text });

  const READ = {
    number: (input) => (input.value.trim() === "" ? undefined : Number(input.value)),
    flag: (input) => input.checked || undefined,
    names: (input) => input.value.split("\n").map((name) => name.trim()).filter(Boolean),
    area: (input) => input.value,
    text: (input) => input.value.trim() || undefined,
  };

  function body(form) {
    const sent = JSON.parse(form.dataset.sent);
    for (const input of form.querySelectorAll("[data-kind]")) {
      const given = READ[input.dataset.kind](input);
      if (given !== undefined) sent[input.name] = given;
    }
    return sent;
  }

  async function send(form, sent, isTrial, key) {
    const params = new URLSearchParams();
    if (isTrial) params.set("dry_run", "true");
    const isQuery = form.dataset.query === "true" || (form.dataset.method === "DELETE" && !Object.keys(sent).length);
    if (isQuery) for (const [name, given] of Object.entries(sent)) params.set(name, given);
    const headers = { "X-Dynamo": "1" };
    if (!isQuery) headers["Content-Type"] = "application/json";
    if (!isTrial) headers["Idempotency-Key"] = key;
    if (form.dataset.seen) headers["If-Match"] = `"${form.dataset.seen}"`;
    const answer = await fetch(`${rest}${form.dataset.path}?${params}`, {
      method: form.dataset.method,
      headers,
      body: isQuery || !Object.keys(sent).length ? undefined : JSON.stringify(sent),
    });
    const document = await answer.json();
    if (!answer.ok) throw Object.assign(new Error(document.detail ?? answer.statusText), { next: document.next_step });
    return document;
  }

  const filled = (text, answer) => text.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(answer[name] ?? ""));
  const isWhole = (text, answer) => [...text.matchAll(/\{(\w+)\}/g)].every(([, name]) => answer[name] !== undefined);

  for (const form of document.querySelectorAll("details.act form")) {
    const sure = form.querySelector(".sure");
    const typed = form.querySelector(".typed");
    const type = form.querySelector(".type");
    const act = form.querySelector("button.do");
    let sent = null;
    let wanted = "";
    let key = "";

    const withdraw = () => {
      sure.hidden = true;
      sent = null;
    };

    const failed = (error) => {
      said(form, "stop", line(error.message), ...(error.next ? [line(error.next)] : []));
    };

    form.addEventListener("input", (event) => {
      if (event.target === type) act.disabled = wanted !== "" && type.value.trim() !== wanted;
      else withdraw();
    });

    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (event.submitter === act || document.activeElement === type) return;
      withdraw();
      said(form, "", line("Asking what it would do …"));
      const asked = body(form);
      try {
        const answer = await send(form, asked, true);
        for (const [name, from] of Object.entries(JSON.parse(form.dataset.takes))) asked[name] = answer[from];
        if (answer.num_files === 0 && form.dataset.takes !== "{}") {
          said(form, "warn", line("There is nothing to do: no file is selected that this can be done to."));
          return;
        }
        said(form, "", line("It would do this:"), shown(answer));
        wanted = decodeURIComponent(filled(form.dataset.confirm, answer));
        typed.hidden = wanted === "";
        typed.querySelector("code").textContent = wanted;
        type.value = "";
        act.disabled = wanted !== "";
        key = crypto.randomUUID();
        sent = asked;
        sure.hidden = false;
        (wanted ? type : act).focus();
      } catch (error) {
        failed(error);
      }
    });

    act.addEventListener("click", async () => {
      if (sent === null) return;
      act.disabled = true;
      try {
        const answer = await send(form, sent, false, key);
        sure.hidden = true;
        const again = Object.assign(document.createElement("a"), { href: location.href, textContent: "Show the page as it is now" });
        said(form, "good", line("Done."), shown(answer), again);
        if (form.dataset.then && isWhole(form.dataset.then, answer)) {
          const address = new URL(filled(form.dataset.then, answer), document.baseURI);
          if (address.href === location.href.split("#")[0]) location.reload();
          else location.assign(address);
        }
      } catch (error) {
        act.disabled = false;
        failed(error);
      }
    });
  }
})();
