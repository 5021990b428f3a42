/** The docs page: what openapi.json and asyncapi.json say, for people. Knows no endpoint and no frame by name. */

const content = document.getElementById("content");
const contents = document.getElementById("contents");

document.getElementById("quick").textContent = `<script type="module">
  import { connect } from "${location.origin}/client.js";
  const gateway = connect("${location.origin}");
  const topic = { exchange: "binance", symbol: "BTC/USDT:USDT" };
  gateway.trades(topic, (trades) => console.log(trades), { rewind: 20 });
</script>`;

try {
  const [rest, stream] = await Promise.all(["/openapi.json", "/asyncapi.json"].map(read));
  list("Begin", [["begin", "Five lines"]]);
  drawRest(rest);
  drawStream(stream);
  followReading();
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
} catch (error) {
  const failed = document.getElementById("failed");
  failed.textContent = `The description of the API could not be read: ${error.message}. Is the gateway running?`;
  failed.hidden = false;
}

async function read(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}

// -- REST -------------------------------------------------------------------------------------------------------------

function drawRest(spec) {
  const section = begun("rest", "REST", "Bodies are JSON objects, answers are bare CCXT shapes; facts about them are in headers.");
  const links = [];
  for (const [path, operations] of Object.entries(spec.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const id = `rest-${operation.operationId}`;
      links.push([id, path]);
      section.append(restCard(spec, id, method, path, operation));
    }
  }
  section.append(
    heading("h3", "headers", "Headers"),
    rows(["header", "meaning"], Object.entries(spec.components.headers).map(([name, one]) => [code(name), one.description])),
    heading("h3", "errors", "Errors"),
    text("Every error has the same body. By HTTP status:"),
    rows(["status", "codes"], errors(spec)),
    fields(spec, spec.components.schemas.RestError),
  );
  list("REST", [...links, ["headers", "Headers"], ["errors", "Errors"]]);
}

function errors(spec) {
  const all = Object.values(spec.paths).flatMap((operations) => Object.values(operations));
  const { responses } = all.find((operation) => operation.requestBody);
  return Object.entries(responses)
    .filter(([status]) => status >= "400")
    .map(([status, one]) => [code(status), element("span", {}, ...joined(one.description.split(", ").map(code)))]);
}

function restCard(spec, id, method, path, operation) {
  const body = operation.requestBody?.content["application/json"];
  const answer = operation.responses["200"].content["application/json"]?.schema;
  const title = heading("h3", id, "");
  title.append(element("span", { class: "method" }, method.toUpperCase()), path);
  const card = element("article", { class: "card" }, title, text(`${operation.summary}.`));
  if (body) card.append(heading("h4", "", "Body"), fields(spec, resolved(spec, body.schema)));
  if (answer) card.append(disclosed("Answer", shape(spec, answer)));
  card.append(trial(method, path, body?.example));
  return card;
}

/** Send it from here, or take it along. */
function trial(method, path, example) {
  const input = element("textarea", { spellcheck: "false", "aria-label": `Body of ${path}`, rows: 3 });
  input.value = example ? JSON.stringify(example, null, 1).replace(/\n\s*/g, " ") : "";
  const output = element("output", {});
  const answer = element("pre", { hidden: "", tabindex: "0", "aria-label": `Answer of ${path}` });
  const send = element("button", { class: "button main", type: "button" }, "Send");
  send.onclick = async () => {
    output.textContent = "…";
    const begun = performance.now();
    try {
      const got = await fetch(path, { method: method.toUpperCase(), ...(example && { body: input.value }) });
      const body = await got.text();
      const cursor = got.headers.get("x-cursor");
      output.textContent = [`HTTP ${got.status}`, `${Math.round(performance.now() - begun)} ms`, cursor && `cursor ${cursor}`]
        .filter(Boolean)
        .join(" · ");
      answer.textContent = pretty(body).slice(0, 20_000);
    } catch {
      output.textContent = "the gateway cannot be reached";
      answer.textContent = "";
    }
    answer.hidden = !answer.textContent;
  };
  const curl = () => {
    const data = example ? ` -d '${input.value.replaceAll("'", "'\\''")}'` : "";
    return `curl -s ${location.origin}${path}${data}`;
  };
  const row = element("div", { class: "row" }, send, copier("Copy as curl", curl), output);
  return element("div", {}, ...(example ? [heading("h4", "", "Try it"), input] : []), row, answer);
}

function pretty(body) {
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}

// -- the websocket ----------------------------------------------------------------------------------------------------

function drawStream(spec) {
  const { address, description } = spec.channels.stream;
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const [about, ...closes] = description.split("\n- ");
  const section = begun("stream", "Websocket", about.replace(/ Close codes:$/, ""));
  section.append(element("pre", { tabindex: "0" }, `${scheme}://${location.host}${address}`));
  for (const [kind, title] of [["command", "Commands"], ["frame", "Frames"]]) {
    section.append(heading("h2", kind, title));
    const links = [];
    for (const [name, message] of Object.entries(spec.components.messages)) {
      if (!name.startsWith(kind)) continue;
      links.push([name, kind === "frame" ? message.name : message.title]);
      section.append(messageCard(spec, name, message));
    }
    list(title, links);
  }
  section.append(
    heading("h2", "closes", "Close codes"),
    rows(["code", "meaning"], closes.map((line) => [code(line.slice(0, 4)), line.slice(6)])),
  );
  list("", [["closes", "Close codes"]]);
}

function messageCard(spec, id, message) {
  const title = heading("h3", id, message.title);
  const card = element("article", { class: "card" }, title, text(message.summary));
  card.append(fields(spec, resolved(spec, message.payload)));
  for (const { payload } of message.examples ?? []) {
    const line = JSON.stringify(payload);
    card.append(element("pre", { tabindex: "0" }, line), element("div", { class: "row" }, copier("Copy", () => line)));
  }
  return card;
}

// -- schemas ----------------------------------------------------------------------------------------------------------

function resolved(spec, schema) {
  return schema.$ref ? schema.$ref.slice(2).split("/").reduce((found, part) => found[part], spec) : schema;
}

/** The fields of an object, those of objects within it by disclosure. */
function fields(spec, schema, within = new Set()) {
  const must = new Set(schema.required ?? []);
  const lines = Object.entries(schema.properties ?? {}).map(([name, one]) => {
    const about = [one.description, one.default != null && JSON.stringify(one.default) !== "{}" && `Default ${JSON.stringify(one.default)}.`];
    const cell = element("div", {}, about.filter(Boolean).join(". ").replace("..", "."));
    for (const inner of parts(spec, one)) {
      if (within.has(inner) || !inner.properties) continue;
      cell.append(disclosed(inner.title, fields(spec, inner, new Set([...within, inner]))));
    }
    const label = element("span", {}, code(name), ...(must.has(name) ? [element("span", { class: "must" }, "always")] : []));
    return [label, kind(spec, one), cell];
  });
  return lines.length ? rows(["field", "type", "meaning"], lines) : text("No fields.");
}

function shape(spec, schema) {
  const inner = schema.items ? resolved(spec, schema.items) : resolved(spec, schema);
  const what = element("p", {}, schema.items ? "A list of:" : "An object:");
  return element("div", {}, what, inner.properties ? fields(spec, inner) : text(`${kind(spec, inner)}: ${inner.description ?? ""}`));
}

/** Schemas of objects that lie in it. */
function parts(spec, schema) {
  const found = resolved(spec, schema);
  if (found.properties) return [found];
  const within = [found.items, found.additionalProperties, ...(found.anyOf ?? [])];
  return within.filter((one) => one && typeof one === "object").flatMap((one) => parts(spec, one));
}

function kind(spec, schema) {
  const found = resolved(spec, schema);
  if (found.const !== undefined) return JSON.stringify(found.const);
  if (found.enum) return found.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (found.anyOf) return found.anyOf.map((one) => kind(spec, one)).join(" | ");
  if (found.prefixItems) return `[${found.prefixItems.map((one) => kind(spec, one)).join(", ")}]`;
  if (found.type === "array") return `list of ${found.items ? kind(spec, found.items) : "anything"}`;
  if (found.properties) return found.title;
  return found.type ?? "anything";
}

// -- the page's own words ---------------------------------------------------------------------------------------------

function begun(id, title, about) {
  const section = element("section", {}, heading("h2", id, title), text(about));
  content.append(section);
  return section;
}

function list(title, links) {
  if (title) contents.append(element("h2", {}, title));
  for (const [id, name] of links) contents.append(element("a", { href: `#${id}` }, name));
}

/** The link of what is being read is marked. */
function followReading() {
  const links = new Map([...contents.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver(
    (entries) => {
      const first = entries.find((entry) => entry.isIntersecting);
      if (!first) return;
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(first.target.id).setAttribute("aria-current", "true");
    },
    { rootMargin: "-60px 0px -70% 0px" },
  );
  for (const id of links.keys()) seen.observe(document.getElementById(id));
}

function copier(label, words) {
  const button = element("button", { class: "button", type: "button" }, label);
  button.onclick = async () => {
    await navigator.clipboard.writeText(words());
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = label), 1_500);
  };
  return button;
}

function disclosed(title, inner) {
  return element("details", {}, element("summary", {}, title), inner);
}

function rows(names, lines) {
  const head = element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name)));
  const body = lines.map((cells) => element("tr", {}, ...cells.map((cell) => element("td", {}, cell))));
  const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
  return element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": names.join(", ") }, table);
}

function heading(level, id, title) {
  return element(level, id ? { id } : {}, title);
}

function text(words) {
  return element("p", {}, words);
}

function code(words) {
  return element("code", {}, words);
}

function joined(nodes) {
  return nodes.flatMap((node, at) => (at ? [" ", node] : [node]));
}

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
