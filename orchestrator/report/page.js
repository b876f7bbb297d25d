"use strict";
(() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const grid = at("cards"), search = at("search"), told = at("told");
  const STORED = `orchestrator-review:${page.batch}`;
  const WORDS = { accept: "Accepted", reject: "Rejected", take: "Another take" };

  // What was decided: job id -> {decision, note, asset_sha256}. Kept in this browser, where it lets us.
  const decided = new Map();
  const undo = [];

  function hash(card) { return card.files.length ? card.files[0].sha256 : null; }

  function load() {
    let kept = {}, dropped = 0;
    try { kept = JSON.parse(localStorage.getItem(STORED) || "{}"); } catch { say("This browser keeps nothing for this page: export before you close it."); }
    for (const card of page.cards) {
      if (!Object.hasOwn(kept, card.id)) continue;
      const one = kept[card.id];
      if (one.asset_sha256 === hash(card) && Object.hasOwn(WORDS, one.decision) && !card.refused[one.decision]) decided.set(card.id, one);
      else dropped += 1;
    }
    if (dropped) say(`${dropped} earlier decision(s) were about results that are no longer these; they are dropped.`);
  }

  function keep() {
    try { localStorage.setItem(STORED, JSON.stringify(Object.fromEntries(decided))); } catch { /* told at the start */ }
  }

  let silence;
  function say(text) {
    told.textContent = text;
    clearTimeout(silence);
    silence = setTimeout(() => { told.textContent = ""; }, 6000);
  }

  function element(tag, text, attributes) {
    const made = document.createElement(tag);
    if (text !== undefined && text !== null) made.textContent = text;
    Object.assign(made, attributes);
    return made;
  }

  // Cards

  let clicked = null; // a second click on the same card shows everything about it
  const template = at("card").content.firstElementChild;
  const cards = page.cards.map((card) => ({ card, node: null, text: null, group: null }));

  function build(one) {
    const { card } = one, node = template.cloneNode(true);
    const [picture, words] = node.children, [title, prompt, meta, error] = words.children;
    title.textContent = title.title = card.id;
    prompt.textContent = card.prompt;
    meta.textContent = [card.variant || card.model, card.cost, card.took].filter(Boolean).map((part) => part.replaceAll(" ", "\u00a0")).join(" · ");
    if (card.error) error.textContent = `${card.error.code}: ${card.error.message}`;
    show(picture, card);
    node.addEventListener("focus", () => go(one, false));
    node.addEventListener("click", (event) => {
      if (event.target.closest("button, video")) return;
      if (clicked === one) detail(one); else go(one, true);
      clicked = one;
    });
    one.node = node;
    mark(one);
  }

  function show(picture, card) {
    const file = card.files[0];
    picture.replaceChildren();
    if (!file) picture.append(element("span", card.state === "completed" ? "no file" : card.state.replace("_", " ")));
    else if (file.text !== null) picture.append(element("blockquote", file.text));
    else if (file.thumb) picture.append(element("img", null, { loading: "lazy", decoding: "async", src: file.thumb, alt: card.prompt || card.id, draggable: false }));
    else picture.append(element("span", file.missing ? "the file is not there any more" : "no preview"));
    if (file && file.kind === "video") {
      const button = element("button", `▶ ${file.length || ""}`.trim(), { type: "button", tabIndex: -1 });
      button.setAttribute("aria-label", `Play ${card.id}`);
      button.addEventListener("click", () => play(picture, card));
      picture.append(button);
    }
    if (card.files.length > 1) picture.append(element("span", `+${card.files.length - 1}`, { className: "more" }));
  }

  function mark(one) {
    const mine = decided.get(one.card.id), stored = one.card.review, last = one.node.querySelector(".decided");
    const word = mine ? mine.decision : stored ? stored.decision : "";
    one.node.dataset.decision = word;
    const note = mine ? mine.note : stored ? stored.note : null;
    const by = !mine && stored ? ` (applied${stored.actor ? `, ${stored.actor}` : ""})` : "";
    const holds = !mine && word === "take" && stored.verdict === "reject" ? "; until then, rejected" : "";
    last.textContent = word ? `${WORDS[word]}${by}${note ? `: ${note}` : ""}${holds}` : "";
    one.node.setAttribute("aria-label", [one.card.id, one.card.state, last.textContent].filter(Boolean).join(", "));
  }

  let playing = null;
  function play(picture, card) {
    const was = playing;
    stop();
    if (was && was.picture === picture) return;
    const video = element("video", null, { src: card.files[0].href, controls: true, loop: true, muted: true, playsInline: true, tabIndex: -1 });
    video.addEventListener("error", () => say(`${card.id}: the clip cannot be played; its link may have ended.`));
    picture.replaceChildren(video);
    playing = { picture, card };
    video.play().catch(() => {});
  }

  function stop() {
    if (playing) show(playing.picture, playing.card);
    playing = null;
  }

  // Which cards are shown, and where

  const filters = ["model", "state", "label", "decision"].map(at);
  const CARD_REM = 23.5, WIDTH_REM = 15, GAP_REM = 0.8, ROWS_AT_ONCE = 8;
  let shown = [], current = null, grouped = false, columns = 1;

  function options(select, first, values) {
    select.append(new Option(first, ""));
    for (const [value, text] of values) select.append(new Option(text, value));
  }

  function counted(key) {
    const counts = new Map();
    for (const { card } of cards) for (const value of key(card)) counts.set(value, (counts.get(value) || 0) + 1);
    return [...counts].sort((a, b) => (a[0] < b[0] ? -1 : 1)).map(([value, n]) => [value, `${value} (${n})`]);
  }

  const labelsOf = (card) => Object.entries(card.labels).map(([name, value]) => `${name}=${value}`);

  function matches(one, wanted) {
    const { card } = one;
    if (wanted.model && card.model !== wanted.model) return false;
    if (wanted.state && card.state !== wanted.state) return false;
    if (wanted.label && !labelsOf(card).includes(wanted.label)) return false;
    if (wanted.decision && (decided.get(card.id)?.decision || "none") !== wanted.decision) return false;
    if (!wanted.text) return true;
    one.text ??= [card.id, card.prompt, card.model, card.error && `${card.error.code} ${card.error.message}`, ...labelsOf(card)].join(" ").toLowerCase();
    return one.text.includes(wanted.text);
  }

  function filter() {
    const wanted = { text: search.value.trim().toLowerCase() };
    for (const select of filters) wanted[select.id] = select.value;
    shown = cards.filter((one) => matches(one, wanted));
    at("count").textContent = shown.length === cards.length ? `${cards.length} jobs` : `${shown.length} of ${cards.length} jobs`;
    arrange();
    if (!shown.includes(current)) go(shown[0] || null, false);
  }

  // Cards stand in sections of a few rows, each laid out on its own, and only while it is near: thousands stay smooth.
  function arrange() {
    stop();
    grid.classList.toggle("grouped", grouped);
    at("layout").setAttribute("aria-pressed", String(grouped));
    grid.replaceChildren(...(grouped ? groups() : blocks()));
  }

  function fitting() {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize), gap = GAP_REM * rem;
    return Math.max(1, Math.floor((grid.clientWidth - 2 * rem + gap) / (WIDTH_REM * rem + gap)));
  }

  function blocks() {
    const made = [];
    columns = fitting();
    grid.style.setProperty("--columns", columns);
    for (let start = 0; start < shown.length; start += columns * ROWS_AT_ONCE) {
      const members = shown.slice(start, start + columns * ROWS_AT_ONCE), block = element("section", null, { className: "block" });
      const rows = Math.ceil(members.length / columns);
      block.style.containIntrinsicSize = `auto ${rows * CARD_REM + (rows - 1) * GAP_REM}rem`;
      block.append(...members.map((one) => one.node));
      made.push(block);
    }
    return made;
  }

  function groups() {
    const rows = new Map();
    for (const one of shown) {
      if (!rows.has(one.card.group)) rows.set(one.card.group, []);
      rows.get(one.card.group).push(one);
    }
    return [...rows].map(([group, members]) => {
      const section = element("section", null, { className: "group" }), row = element("div");
      row.append(...members.map((one) => one.node));
      section.append(element("h2", `${page.groups[group]} (${members.length})`), row);
      return section;
    });
  }

  function relayout() {
    grouped = !grouped;
    arrange();
    if (current) go(current, true);
  }

  // Moving about

  function go(one, focus) {
    if (current && current !== one) current.node.tabIndex = -1;
    if (playing && one && playing.card !== one.card) stop();
    current = one;
    if (!one) return;
    one.node.tabIndex = 0;
    if (focus) { one.node.focus({ preventScroll: true }); one.node.scrollIntoView({ block: "nearest", inline: "nearest" }); }
  }

  function step(by) {
    const place = shown.indexOf(current);
    go(shown[Math.max(0, Math.min(shown.length - 1, place + by))] || null, true);
  }

  function vertical(sign) {
    if (!grouped) { const target = shown.indexOf(current) + sign * columns; if (shown[target]) go(shown[target], true); return; }
    const row = (one) => shown.filter((other) => other.card.group === one.card.group);
    const mine = row(current), edge = sign > 0 ? mine[mine.length - 1] : mine[0];
    const next = shown[shown.indexOf(edge) + sign];
    if (!next) return;
    const theirs = row(next);
    go(theirs[Math.min(mine.indexOf(current), theirs.length - 1)], true);
  }

  // Deciding

  function decide(decision, note = null) {
    const one = current;
    if (!one) return;
    undo.push([one, decided.get(one.card.id)]);
    decided.set(one.card.id, { decision, note, asset_sha256: hash(one.card) });
    after(one, `${one.card.id}: ${WORDS[decision].toLowerCase()}`);
    step(1);
  }

  function after(one, text) {
    keep();
    mark(one);
    at("export").textContent = `Export ${decided.size} (e)`;
    say(text);
  }

  function ask(decision) {
    if (!current) return;
    const { card } = current;
    if (card.refused[decision]) { refuse(`${card.id} ${card.refused[decision]}.`, decision); return; }
    if (decision !== "reject") { decide(decision); return; }
    at("note-title").textContent = `Reject ${card.id}`;
    at("note-text").value = decided.get(card.id)?.note || "";
    at("note").showModal();
    at("note-text").focus();
  }

  // Who rejects goes on to write a note: a dialog takes its letters, which would be keys here.
  function refuse(why, decision) {
    if (decision !== "reject") { say(why); return; }
    at("refused-why").textContent = why;
    at("refused").showModal();
    at("refused-why").focus();
  }

  function back() {
    const last = undo.pop();
    if (!last) { say("There is nothing to undo."); return; }
    const [one, before] = last;
    if (before) decided.set(one.card.id, before); else decided.delete(one.card.id);
    after(one, `${one.card.id}: undone`);
    if (one.node.isConnected) go(one, true);
  }

  function save() {
    if (!decided.size) { say("Nothing is decided yet: a accepts, r rejects, t asks for another take."); return; }
    const decisions = cards.filter(({ card }) => decided.has(card.id)).map(({ card }) => {
      const { decision, note, asset_sha256 } = decided.get(card.id);
      return { job: card.id, asset_sha256, decision, note };
    });
    const text = JSON.stringify({ version: 1, batch: page.batch, decisions }, null, 1) + "\n";
    const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    element("a", null, { href: url, download: "decisions.json" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
    say(`${decisions.length} decision(s) exported; carry them out: orchestrator review apply decisions.json`);
  }

  // Everything about one job

  function detail(one) {
    const { card } = one, files = at("detail-files"), facts = at("detail-facts");
    stop();
    at("detail-title").textContent = card.id;
    files.replaceChildren();
    for (const file of card.files) {
      if (file.text !== null) files.append(element("pre", file.text));
      else if (file.kind === "video") files.append(element("video", null, { src: file.href, controls: true, poster: file.thumb || "", preload: "metadata", muted: true, loop: true }));
      else {
        const image = element("img", null, { src: file.href, alt: card.prompt || card.id });
        image.addEventListener("error", () => { // gone, or its link has ended: the small picture beside the page is still there
          if (file.thumb) image.src = file.thumb;
          say(`${card.id}: the original cannot be opened; make the report again.`);
        }, { once: true });
        files.append(image);
      }
      files.append(element("a", "the original file", { href: file.href, target: "_blank", rel: "noopener noreferrer" }), ` ${file.about}`);
    }
    facts.replaceChildren();
    for (const [name, value] of card.facts) facts.append(element("dt", name), element("dd", value));
    at("detail").scrollTop = 0;
    if (!at("detail").open) at("detail").showModal();
  }

  function detailBeside(by) {
    const one = shown[shown.indexOf(current) + by];
    if (one) { go(one, false); detail(one); }
  }

  // Keys

  const keys = {
    ArrowRight: () => step(1), ArrowLeft: () => step(-1), ArrowDown: () => vertical(1), ArrowUp: () => vertical(-1),
    j: () => step(1), k: () => step(-1), Home: () => go(shown[0] || null, true), End: () => go(shown[shown.length - 1] || null, true),
    a: () => ask("accept"), r: () => ask("reject"), t: () => ask("take"), u: back, e: save, g: relayout,
    "/": () => { search.focus(); search.select(); }, "?": () => at("keys").showModal(),
    Enter: () => current && detail(current),
    " ": () => current && current.card.files[0]?.kind === "video" && play(current.node.querySelector(".picture"), current.card),
  };

  const beside = { ArrowRight: 1, ArrowLeft: -1, j: 1, k: -1 }; // a clip that has the focus takes arrows for itself

  function fromDetail(key) {
    at("detail").close();
    keys[key]();
  }

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (at("detail").open) {
      const key = event.key.length > 1 ? event.key : event.key.toLowerCase();
      if ("art".includes(key)) { event.preventDefault(); fromDetail(key); }
      else if (Object.hasOwn(beside, key) && !event.target.matches("video")) { event.preventDefault(); detailBeside(beside[key]); }
      return;
    }
    if (document.querySelector("dialog[open]")) return;
    const into = event.target;
    if (into.matches("input, select")) {
      if (event.key === "Escape" || (event.key === "Enter" && into === search)) { event.preventDefault(); clearTimeout(typing); filter(); go(current, true); }
      return;
    }
    if (into.matches("button, summary, a, video") && (event.key === "Enter" || event.key === " ")) return;
    const does = keys[event.key] || keys[event.key.toLowerCase()];
    if (does) { event.preventDefault(); does(); }
  });

  // At once, and not when the dialog's `close` event comes: a key pressed in between would move on to another job.
  function rejectWithNote() {
    at("note").close();
    decide("reject", at("note-text").value.toWellFormed().replaceAll("\0", "").trim() || null);
  }

  at("note-text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); rejectWithNote(); }
  });
  at("note").querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); rejectWithNote(); });
  at("refused").addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); at("refused").close(); }
  });
  at("note-cancel").addEventListener("click", () => at("note").close());
  for (const dialog of document.querySelectorAll("dialog")) dialog.addEventListener("close", () => current && go(current, true));
  at("detail").addEventListener("close", () => at("detail-files").replaceChildren());
  at("detail-actions").addEventListener("click", ({ target }) => target.dataset.key && fromDetail(target.dataset.key));
  at("help").addEventListener("click", keys["?"]);
  at("export").addEventListener("click", save);
  at("layout").addEventListener("click", relayout);
  for (const select of filters) select.addEventListener("change", filter);
  let typing;
  search.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(filter, 120); });
  addEventListener("resize", () => { if (!grouped && fitting() !== columns) arrange(); });

  options(at("model"), "All models", counted((card) => [card.model].filter(Boolean)));
  options(at("state"), "All states", counted((card) => [card.state]));
  options(at("label"), "All labels", counted(labelsOf));
  options(at("decision"), "Any decision", [["none", "not decided"], ...Object.entries(WORDS).map(([word, text]) => [word, text.toLowerCase()])]);
  at("label").hidden = at("label").length < 2;
  at("layout").hidden = page.groups.length === page.cards.length;
  load();
  cards.forEach(build);
  filter();
  if (decided.size) at("export").textContent = `Export ${decided.size} (e)`;
  if (current) go(current, true);
  else at("count").textContent = "no jobs";
})();
