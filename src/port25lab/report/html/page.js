"use strict";
(async () => {
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const make = (tag, attributes = {}, ...children) => {
    const one = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "class") one.className = value;
      else if (key.startsWith("on")) one.addEventListener(key.slice(2), value);
      else if (value !== null && value !== false) one.setAttribute(key, value === true ? "" : value);
    }
    one.append(...children.filter((child) => child !== null && child !== undefined));
    return one;
  };
  const draw = (tag, attributes, text) => {
    const one = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
    if (text !== undefined) one.textContent = text;
    return one;
  };

  const bytes = Uint8Array.from(atob($("data").textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  // Control and direction characters of servers, rules and file names are shown, not obeyed.
  const visible = (text) => text.replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]/gu,
    (one) => `\\u${one.codePointAt(0).toString(16).padStart(4, "0")}`);
  const data = JSON.parse(await new Response(stream).text(), (_, value) => (typeof value === "string" ? visible(value) : value));
  const verdicts = data.verdicts;
  const byId = new Map(verdicts.map((one, index) => [one.path, index]));
  const isMx = (to) => to.startsWith("mx:");
  const target = (one) => (isMx(one.to) ? `MX of ${one.to.slice(3)}` : one.to) + (one.packet && !one.port ? "" : `:${one.port}`);
  const how = (one) => [one.packet ? `packet ${one.packet}` : "", one.security === "none" ? "" : one.security, one.auth ? `auth ${one.auth}` : "",
    one.client === "aiosmtplib" || one.packet ? "" : one.client].filter(Boolean).join(", ");
  const version = (one) => (one.ip_version ? `IPv${one.ip_version}` : "IPv4 or IPv6");
  const tone = (one) => (one.ok === false ? (one.told ? "bad" : "warn") : one.ok === null ? "" : "good");
  const place = (rule) => (rule.file ? `${rule.file}:${rule.line}` : `${rule.chain} ${rule.rule_number === null ? "policy" : "#" + rule.rule_number}`);
  const short = (rule) => place(rule).split("/").slice(-2).join("/");
  const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
  const repeat = (one) => one.scenario === "check" ? data.environment.command.map((word, n) => (n ? quoted(word) : "port25lab")).join(" ")
    : `port25lab run ${quoted(one.scenario)} -k ${quoted(one.path)}`;
  const passes = (one) => one.outcome === "delivered" || one.outcome === "reached";
  // What is as expected is no alarm, also where it is blocked.
  const shade = (one) => one.ok === false ? (one.told ? "bad" : "warn") : passes(one) ? "good" : one.ok === null && data.blocked.includes(one.outcome) ? "bad" : "";
  const tag = (one) => make("span", { class: `tag ${shade(one)}` }, one.outcome);
  const words = verdicts.map((one) => [one.path, one.ref, one.name, one.from, target(one), how(one), one.outcome, one.mechanism, one.reason,
    one.blame ? `${one.blame.node} ${one.blame.rule} ${one.blame.file}` : ""].join(" ").toLowerCase());

  // -- saving a figure or a table

  const save = (name, kind, text) => {
    const url = URL.createObjectURL(new Blob([text], { type: kind }));
    const link = make("a", { href: url, download: name });
    link.click();
    URL.revokeObjectURL(url);
  };
  const plain = (text) => (/^[=+\-@]/.test(text) ? `'${text}` : text); // a spreadsheet would take it for a formula
  const cell = (said) => ((text) => /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)(plain(said));
  const csvOf = (table) => [...table.rows].map((row) => [...row.cells].map((one) => cell(one.textContent)).join(",")).join("\r\n") + "\r\n";
  const COLOURS = ["fill", "stroke", "stroke-width", "stroke-dasharray", "font-size"];
  const svgOf = (figure) => {
    const copy = figure.cloneNode(true);
    const originals = [figure, ...figure.querySelectorAll("*")];
    [copy, ...copy.querySelectorAll("*")].forEach((one, index) => {
      const shown = getComputedStyle(originals[index]);
      for (const key of COLOURS) if (shown.getPropertyValue(key)) one.setAttribute(key, shown.getPropertyValue(key));
    });
    copy.setAttribute("font-family", "sans-serif");
    return new XMLSerializer().serializeToString(copy);
  };
  const tools = (...buttons) => make("div", { class: "tools" }, ...buttons.map(([text, action]) => make("button", { type: "button", onclick: action }, text)));

  // -- facts of one verdict

  const list = (pairs) => make("dl", {}, ...pairs.filter(([, value]) => value).flatMap(([key, value]) => [make("dt", {}, key), make("dd", {}, value)]));
  const ruleLink = (rule) => make("span", {}, rule.file && data.files[rule.file] ? make("a", { href: `#r-${rule.file}-${rule.line}`, onclick: (event) => { event.preventDefault(); openRule(rule.file, rule.line); } }, place(rule)) : place(rule),
    make("br"), make("code", {}, rule.rule));
  const blame = (one) => {
    if (!one.blame) return null;
    const trail = one.blame.trail || [];
    return make("div", {}, `${one.blame.node}, ${one.blame.table} ${one.blame.chain}`, make("br"), ruleLink(one.blame),
      trail.length > 1 ? make("details", {}, make("summary", {}, `the ${trail.length} rules that led there`), make("ol", { class: "trail" }, ...trail.map((rule) => make("li", {}, ruleLink(rule))))) : null);
  };
  const expected = (one) => one.expected ? one.expected + (one.expected_by ? `, by ${one.expected_by}` : "") + (one.expected_how ? `, how: ${one.expected_how}` : "") : "nothing";
  const copyable = (text) => make("div", { class: "repeat" }, make("code", {}, text), make("button", { type: "button", "aria-label": "Copy the command", onclick: (event) => {
    const button = event.currentTarget;
    navigator.clipboard?.writeText(text).then(() => { button.textContent = "copied"; }, () => {});
  } }, "copy"));
  const seen = (one) => {
    const saw = one.observation;
    const code = saw.smtp_code ? `${saw.smtp_code}${saw.enhanced_code ? " " + saw.enhanced_code : ""}` : saw.errno;
    return [saw.stage, code, saw.reply].filter(Boolean).join(": ") + ` (${saw.seconds.toFixed(3)} s)`;
  };
  const chance = (one) => one.chance && make("div", {}, `${Object.entries(one.chance.outcomes).map(([outcome, times]) => `${times} ${outcome}`).join(", ")}, by chance`,
    ...one.chance.rules.map((rule) => make("div", {}, `${rule.node}, ${rule.table} ${rule.chain}`, make("br"), ruleLink(rule))));
  const facts = (one) => list([
    ["expected", expected(one)],
    ["found", `${one.outcome}: ${data.outcomes[one.outcome]}`],
    ["mechanism", one.mechanism !== "none" && one.mechanism !== "unknown" && data.mechanisms[one.mechanism] ? `${one.mechanism}: ${data.mechanisms[one.mechanism].text}${data.mechanisms[one.mechanism].source ? ` (${data.mechanisms[one.mechanism].source})` : ""}` : ""],
    ["attempts differ", chance(one)],
    ["client saw", one.packet ? "" : seen(one)],
    ["rule", blame(one)],
    ["answered by", one.answered_by && one.outcome === "intercepted" ? one.answered_by : ""],
    ["control", one.control ? `without the policy: ${one.control.outcome}` : ""],
    ["why", one.reason],
    ["disagree", one.disagreement],
    ["retried", one.retried],
    ["policies", Object.entries(one.policies).map(([node, names]) => `${names.join(", ")} on ${node}`).join("; ") || "none"],
    ["repeat", copyable(repeat(one))],
  ]);
  const heading = (one) => `${one.ref ? one.ref + " " : ""}${one.from} → ${target(one)}${how(one) ? ", " + how(one) : ""}, ${version(one)}${one.repeat > 1 ? `, attempt ${one.attempt}` : ""}`;
  const link = (one) => make("a", { href: "#v=" + encodeURIComponent(one.path) }, heading(one));

  // -- the picture

  const pictures = [...document.querySelectorAll(".picture")];
  const picture = (one) => {
    const base = pictures[one.topology]?.querySelector("svg");
    if (!base || !one.route.length) return null;
    const svg = base.cloneNode(true);
    const route = one.route, box = (name) => svg.querySelector(`[data-node="${CSS.escape(name)}"]`);
    const wire = (a, b) => svg.querySelector(`[data-a="${CSS.escape(a)}"][data-b="${CSS.escape(b)}"],[data-a="${CSS.escape(b)}"][data-b="${CSS.escape(a)}"]`);
    const taker = one.outcome === "intercepted" ? one.answered_by : null;
    const whole = passes(one) || one.outcome === "closed" || one.answered_by === route.at(-1);
    const decider = one.blame && !passes(one) && one.outcome !== "closed" ? one.blame.node : null;
    const far = Math.max(...one.packets.map((packet) => route.indexOf(packet.node)), -1);
    // As far as it is known: to the node that decided or took it, to where its last packet ended or was seen.
    const end = [decider, taker, whole ? route.at(-1) : null, one.ended?.packet.node].find((name) => route.includes(name));
    const stop = end === undefined ? far : route.indexOf(end);
    route.forEach((name, n) => {
      if (stop >= 0) box(name)?.classList.add(n <= stop ? "on" : "off");
      if (n && stop >= 0) wire(route[n - 1], name)?.classList.add(n <= stop ? "on" : "off");
    });
    for (const badge of svg.querySelectorAll(".policy")) {
      const node = badge.parentNode.getAttribute("data-node");
      badge.textContent = [badge.getAttribute("data-own"), ...(one.policies[node] || [])].filter(Boolean).join(", ");
    }
    if (decider) box(decider)?.classList.add("decider");
    if (taker) {
      box(taker)?.classList.add("taker");
      const from = route[Math.max(stop, 0)], straight = wire(from, taker);
      if (straight) straight.classList.add("bent");
      else if (taker !== from && box(from) && box(taker)) {
        const [[x1, y1], [x2, y2]] = [from, taker].map((name) => box(name).getAttribute("transform").match(/-?[\d.]+/g).map(Number));
        svg.querySelector(".wires").append(draw("path", { class: "bent", fill: "none", d: `M${x1 + 66} ${y1 + 28}Q${(x1 + x2) / 2 + 66} ${Math.max(y1, y2) + 70} ${x2 + 66} ${y2 + 28}` }));
      }
    }
    svg.querySelector("title").textContent = `${heading(one)}: ${one.outcome}${one.blame ? ` at ${one.blame.node}` : ""}. Way: ${route.join(", ")}`;
    const words = decider ? `${decider}: ${short(one.blame)}` : taker ? `taken by ${taker}` : whole ? "the whole way"
      : stop >= 0 ? `seen as far as ${route[stop]}; no rule is known that stopped it` : "how far it came is not known";
    return make("div", {}, make("div", { class: "figure", tabindex: "0", role: "region", "aria-label": svg.querySelector("title").textContent }, svg), make("p", { class: "soft" }, words),
      tools(["SVG", () => save("path.svg", "image/svg+xml", svgOf(svg))]));
  };

  // -- the packets

  const sequence = (one) => {
    if (!one.packets.length) return null;
    const places = [...new Set(one.packets.map((packet) => packet.at))];
    const order = (at) => { const n = one.route.indexOf(at.split("/")[0]); return n < 0 ? 99 : n; };
    places.sort((a, b) => order(a) - order(b));
    const gap = 210, left = 90, x = (at) => left + places.indexOf(at) * gap, step = 30;
    const rows = [], open = new Map();
    for (const packet of one.packets) {
      const key = `${packet.kind} ${packet.sequence} ${packet.retransmission}`;
      const before = open.get(key);
      if (before && before.packet.at !== packet.at && !packet.leaving) { before.to = packet; open.delete(key); }
      else { const row = { packet, to: null }; rows.push(row); if (packet.leaving) open.set(key, row); }
    }
    const width = left + (places.length - 1) * gap + 190, height = 44 + rows.length * step + 12;
    const svg = draw("svg", { class: "sequence", viewBox: `0 0 ${width} ${height}`, width, height, role: "img" });
    svg.append(draw("title", {}, `Packets of ${heading(one)}`));
    for (const at of places) {
      svg.append(draw("text", { x: x(at), y: 16, "text-anchor": "middle" }, at), draw("line", { x1: x(at), y1: 24, x2: x(at), y2: height }));
    }
    const silent = data.blocked.includes(one.outcome) || one.outcome === "unreachable";
    rows.forEach((row, n) => {
      const y = 48 + n * step, from = x(row.packet.at), lost = !row.to && row.packet.leaving && silent;
      const inward = order(row.packet.at) === 0 || row.packet.at.startsWith(one.from + "/");
      const to = row.to ? x(row.to.at) : row.packet.leaving ? from + (inward ? 70 : -70) : from;
      svg.append(draw("text", { class: "time", x: 4, y: y + 4 }, `${(row.packet.seconds * 1000).toFixed(1)} ms`));
      if (to !== from) {
        const back = to > from ? -7 : 7;
        svg.append(draw("line", { class: lost ? "lost" : "arrow", x1: from, y1: y, x2: to, y2: y }),
          draw("path", { class: lost ? "lost" : "arrow", fill: "none", d: `M${to + back} ${y - 4}L${to} ${y}L${to + back} ${y + 4}` }));
      } else svg.append(draw("path", { class: "arrow", fill: "none", d: `M${from - 10} ${y}L${from} ${y}` }));
      const stopped = row.to && one.blame && !passes(one) && row.to.node === one.blame.node && row.to.kind !== "SYN-ACK";
      if (stopped) svg.append(draw("text", { class: "losttext", x: to + 8, y: y + 4 }, `✗ ${short(one.blame)}`));
      const end = lost ? ` ✗ ${one.blame ? one.blame.node + " " + short(one.blame) : "seen nowhere after that"}` : "";
      svg.append(draw("text", { class: lost ? "losttext" : "", x: Math.min(from, to) + 8, y: y - 5 },
        `${row.packet.kind}${row.packet.retransmission ? " again" : ""}${end}`));
    });
    return make("div", {}, make("div", { class: "figure", tabindex: "0", role: "region", "aria-label": svg.querySelector("title").textContent }, svg), tools(["SVG", () => save("packets.svg", "image/svg+xml", svgOf(svg))]));
  };
  const dialogue = (one) => {
    const saw = one.observation, rows = [];
    if (saw.address) rows.push(["connect", saw.address]);
    if (saw.banner) rows.push(["S: banner", saw.banner]);
    if (saw.keywords?.length) rows.push(["S: EHLO", saw.keywords.join(" ")]);
    if (saw.tls) rows.push(["TLS", saw.tls]);
    for (const [stage, seconds] of Object.entries(saw.times || {})) rows.push([stage, `at ${seconds.toFixed(3)} s`]);
    if (saw.reply && saw.stage !== "connect" && saw.stage !== "resolve") rows.push([`S: ${saw.stage}`, [saw.smtp_code, saw.reply].filter(Boolean).join(" ")]);
    for (const hop of one.hops || []) rows.push([`relay ${hop.node}`, [hop.observation.stage, hop.observation.smtp_code, hop.observation.errno, hop.observation.reply].filter(Boolean).join(" ")]);
    return rows.length ? list(rows) : null;
  };

  const part = (title, content) => (content ? make("div", {}, make("h3", {}, title), content) : null);
  const choose = (one, move = true) => {
    const panel = $("chosen");
    panel.replaceChildren(
      make("div", { class: "top" }, make("h2", {}, heading(one)), make("span", {}, tag(one), " ", make("button", { type: "button", onclick: () => { panel.hidden = true; history.replaceState(null, "", "#paths"); } }, "close"))),
      make("p", { class: "soft" }, `${one.name ? one.name + " · " : ""}${one.path}`), facts(one),
      make("div", { class: "parts" }, part("The way", picture(one)), part("Packets", sequence(one)), part("Dialogue", one.packet ? null : dialogue(one))));
    panel.hidden = false;
    document.querySelectorAll("tr[aria-current]").forEach((row) => row.removeAttribute("aria-current"));
    document.querySelector(`tr[data-n="${byId.get(one.path)}"]`)?.setAttribute("aria-current", "true");
    if (move) { panel.scrollIntoView({ block: "start" }); panel.focus({ preventScroll: true }); }
  };
  const follow = () => {
    const match = /^#v=(.*)$/.exec(location.hash);
    let index = null;
    try { index = match && byId.get(decodeURIComponent(match[1])); } catch { /* no address that this page made */ }
    if (index !== null && index !== undefined) choose(verdicts[index]);
  };

  // -- first what matters

  const card = (one, kind, extra) => make("article", { class: `card ${kind}` }, make("h3", {}, link(one)), extra || null, list([
    ["expected", expected(one)], ["found", make("span", {}, tag(one), ` ${data.outcomes[one.outcome]}`)], ["attempts differ", chance(one)], ["rule", blame(one)], ["why", one.reason], ["repeat", copyable(repeat(one))]]));
  const LIMIT = 20;
  const cards = (title, found, kind, extra = () => null) => {
    if (!found.length) return;
    const box = make("div", { class: "cards" }, ...found.slice(0, LIMIT).map((one) => card(one, kind, extra(one))));
    $("first").append(make("h2", {}, `${title} (${found.length})`), box);
    if (found.length > LIMIT) $("first").append(make("p", { class: "soft" }, `${found.length - LIMIT} more are in the table of paths.`));
  };
  cards("Not as expected", verdicts.filter((one) => one.ok === false && one.told), "");
  cards("Could not be told", verdicts.filter((one) => one.ok === false && !one.told), "warn");
  if (data.against) {
    const changed = verdicts.filter((one) => data.against[one.path] && (data.against[one.path].outcome !== one.outcome || data.against[one.path].rule !== (one.blame ? place(one.blame) : null)));
    cards("Changed", changed, "changed", (one) => make("p", {}, `before: ${data.against[one.path].outcome}${data.against[one.path].rule ? " by " + data.against[one.path].rule : ""}`));
    if (!changed.length) $("first").append(make("h2", {}, "Changed (0)"), make("p", {}, "Nothing changed against the older results."));
  }

  if (data.findings.length) $("first").append(make("h2", {}, "Hints"), make("ul", {}, ...data.findings.map((one) => make("li", {}, one.file ? make("code", {}, `${one.file}:${one.line} `) : null, one.text))));
  if (verdicts.every((one) => one.scenario === "check")) document.querySelector("main").insertBefore($("matrix"), $("paths"));

  // -- the table and its filters

  const PAGE = 200;
  let shown = [], limit = PAGE;
  const row = (index) => {
    const one = verdicts[index];
    return make("tr", { class: "pick", "data-n": index, onclick: () => { location.hash = "v=" + encodeURIComponent(one.path); } },
      make("td", { class: tone(one) }, one.ok === false ? (one.told ? "✗" : "?") : one.ok === null ? "·" : "✓"),
      make("td", {}, one.ref || ""), make("td", { class: "path" }, make("a", { href: "#v=" + encodeURIComponent(one.path) }, `${one.from} → ${target(one)}`), how(one) ? make("span", { class: "soft" }, ` ${how(one)}`) : null),
      make("td", {}, one.ip_version ? `v${one.ip_version}` : "v4/v6"), make("td", {}, `${one.scenario === "check" ? "" : one.scenario + "/"}${one.variant}`), make("td", {}, tag(one)),
      make("td", { class: "path" }, one.blame ? `${one.blame.node} ${short(one.blame)}` : one.outcome === "intercepted" && one.answered_by ? `answered by ${one.answered_by}` : ""));
  };
  const show = () => {
    const body = make("tbody", {}, ...shown.slice(0, limit).map(row));
    const head = make("thead", {}, make("tr", {}, ...["", "ref", "path", "IP", "variant", "outcome", "decided by"].map((text) => make("th", { scope: "col" }, text || make("span", { class: "away" }, "as expected")))));
    $("table").replaceChildren(head, body);
    $("more").hidden = shown.length <= limit;
    $("count").textContent = `${shown.length} of ${verdicts.length}`;
  };
  const filter = () => {
    const text = $("f-text").value.toLowerCase().split(/\s+/).filter(Boolean), outcome = $("f-outcome").value, node = $("f-node").value, ip = $("f-ip").value;
    limit = PAGE;
    shown = [];
    verdicts.forEach((one, index) => {
      if ((!outcome || one.outcome === outcome) && (!node || one.blame?.node === node) && (!ip || String(one.ip_version) === ip) && text.every((word) => words[index].includes(word))) shown.push(index);
    });
    show();
  };
  const options = (id, values) => $(id).append(...[...new Set(values.filter(Boolean))].sort().map((value) => make("option", { value }, value)));
  options("f-outcome", verdicts.map((one) => one.outcome));
  options("f-node", verdicts.map((one) => one.blame?.node));
  for (const id of ["f-text", "f-outcome", "f-node", "f-ip"]) $(id).addEventListener("input", filter);
  document.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());
  $("more").addEventListener("click", () => { limit += 5 * PAGE; show(); });
  $("paths").append(tools(["CSV", () => { const all = limit; limit = Infinity; show(); save("paths.csv", "text/csv", csvOf($("table"))); limit = all; show(); }]));

  // -- the networks themselves

  if (pictures.length) $("network").append(make("h2", {}, "The network"), make("p", { class: "soft" }, "Choose a path to see its way: green as far as it came, red behind the node that decided."), ...pictures.map((one, n) => {
    const box = make("details", { open: pictures.length === 1 }, make("summary", {}, data.networks[n]));
    const fill = () => { if (box.open && box.children.length === 1) { const svg = one.querySelector("svg").cloneNode(true); box.append(make("div", { class: "figure", tabindex: "0", role: "region", "aria-label": svg.querySelector("title").textContent }, svg), tools(["SVG", () => save(`${data.networks[n]}.svg`, "image/svg+xml", svgOf(svg))])); } };
    box.addEventListener("toggle", fill);
    fill();
    return box;
  }));

  // -- paths by variants; groups by destinations where there is one variant

  const grid = (scenario, mine) => {
    const variants = [...new Set(mine.map((one) => one.variant))];
    const across = variants.length > 1 ? (one) => one.variant : target;
    const down = variants.length > 1 ? (one) => `${one.ref ? one.ref + " " : ""}${one.from} → ${target(one)}${how(one) ? ", " + how(one) : ""}` : (one) => one.from;
    const columns = [...new Set(mine.map(across))], lines = new Map();
    for (const one of mine) {
      const line = lines.get(down(one)) || lines.set(down(one), new Map()).get(down(one));
      (line.get(across(one)) || line.set(across(one), []).get(across(one))).push(one);
    }
    const inside = (found) => {
      if (!found) return "";
      const outcomes = [...new Set(found.map((one) => one.outcome))];
      return make("span", {}, ...outcomes.flatMap((outcome) => {
        const same = found.filter((one) => one.outcome === outcome), versions = [...new Set(same.map((one) => one.ip_version))].filter(Boolean);
        return [make("a", { href: "#v=" + encodeURIComponent(same[0].path) }, tag(same[0])), outcomes.length > 1 && versions.length ? ` v${versions.join(", v")} ` : " "];
      }));
    };
    const table = make("table", {}, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "path"), ...columns.map((name) => make("th", { scope: "col" }, name)))),
      make("tbody", {}, ...[...lines].map(([name, line]) => make("tr", {}, make("th", { scope: "row", class: "path" }, name), ...columns.map((column) => make("td", {}, inside(line.get(column))))))));
    return [make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Matrix of ${scenario}` }, table), tools(["CSV", () => save(`${scenario.replace(/\W+/g, "-")}.csv`, "text/csv", csvOf(table))])];
  };
  const scenarios = [...new Set(verdicts.map((one) => one.scenario))];
  $("matrix").append(make("h2", {}, scenarios.length === 1 && scenarios[0] === "check" ? "Groups and destinations" : "Paths by variants"), ...scenarios.map((scenario) => {
    const box = make("details", { open: scenarios.length === 1 }, make("summary", {}, scenario));
    const fill = () => { if (box.open && box.children.length === 1) box.append(...grid(scenario, verdicts.filter((one) => one.scenario === scenario))); };
    box.addEventListener("toggle", fill);
    fill();
    return box;
  }));

  // -- the rules files, with what each line did

  const hits = new Map(), led = new Map();
  const note = (map, rule, one) => { if (rule.file) { const key = `${rule.file}:${rule.line}`; (map.get(key) || map.set(key, []).get(key)).push(one); } };
  for (const one of verdicts) if (one.blame) {
    note(hits, one.blame, one);
    for (const rule of (one.blame.trail || []).slice(0, -1)) note(led, rule, one);
  }
  const fillRules = (box, file) => {
    if (box.children.length > 1) return;
    box.append(make("pre", { tabindex: "0", "aria-label": file }, ...data.files[file].split("\n").map((text, n) => {
      const key = `${file}:${n + 1}`, decided = hits.get(key), on = led.get(key);
      const button = (found, word) => make("button", { type: "button", onclick: () => { location.hash = "v=" + encodeURIComponent(found[0].path); } }, `${word} ${found.length}`);
      return make("span", { class: `ruleline ${decided ? "hit" : on ? "led" : "idle"}`, id: `r-${file}-${n + 1}` }, make("span", { class: "n" }, String(n + 1)),
        make("span", {}, decided ? button(decided, "decided") : on ? button(on, "led") : ""), make("span", {}, text));
    })));
  };
  const files = Object.keys(data.files).sort((a, b) => count(b) - count(a) || a.localeCompare(b));
  function count(file) { let all = 0; for (const [key, found] of hits) if (key.startsWith(file + ":")) all += found.length; return all; }
  const boxes = new Map();
  if (files.length) $("rules").append(make("h2", {}, "Rules"), make("p", { class: "soft" }, "Lines that decided are marked; those that only led there are marked lighter; grey ones decided nothing in this run."), ...files.map((file) => {
    const box = make("details", {}, make("summary", {}, `${file} — ${count(file) ? `decided ${count(file)} paths` : "decided nothing"}`));
    box.addEventListener("toggle", () => { if (box.open) fillRules(box, file); });
    boxes.set(file, box);
    return box;
  }));
  function openRule(file, line) {
    const box = boxes.get(file);
    box.open = true;
    fillRules(box, file);
    document.getElementById(`r-${file}-${line}`)?.scrollIntoView({ block: "center" });
  }

  // -- where it comes from

  const environment = data.environment, git = environment.git;
  $("origin").append(make("h2", {}, "Where this comes from"), list([
    ["tool", `${data.tool.name} ${data.tool.version}`], ["command", make("code", {}, (environment.command || []).join(" "))],
    ["commit", git ? `${git.commit}${git.changed ? ", with changes" : ""}` : ""], ["started", environment.started], ["took", environment.seconds === undefined ? "" : `${environment.seconds} s, ${environment.labs} labs`],
    ...["host", "processors", "kernel", "machine", "python", "mininet", "iptables", "nft", "ipset", "openssl"].map((key) => [key, environment[key] === undefined ? "" : String(environment[key])]),
    ...Object.entries(environment.clients || {}).map(([name, version]) => [`client ${name}`, version])]),
    make("details", {}, make("summary", {}, `${data.inputs.length} files that were read, with SHA-256`), make("pre", { tabindex: "0" }, data.inputs.map((one) => `${one.sha256}  ${one.file}`).join("\n"))));

  $("theme").addEventListener("click", () => {
    const dark = document.documentElement.classList.contains("dark") || (!document.documentElement.classList.contains("light") && matchMedia("(prefers-color-scheme: dark)").matches);
    document.documentElement.classList.remove("dark", "light");
    document.documentElement.classList.add(dark ? "light" : "dark");
  });
  addEventListener("hashchange", follow);
  addEventListener("keydown", (event) => { if (event.key === "Escape" && !$("chosen").hidden) $("chosen").hidden = true; });
  filter();
  follow();
  document.documentElement.dataset.ready = "true";
})();
