// Shows /openapi.json: groups, routes, fields and statuses. Everything is set as text, never as HTML.

const METHODS = ["get", "post", "put", "patch", "delete", "head", "options", "trace"];
// A shape inside itself would be shown for ever.
const MAX_DEPTH = 6;

const find = (id) => document.getElementById(id);

function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function resolve(whole, shape) {
  if (!shape || !shape.$ref) return shape ?? {};
  const path = shape.$ref.replace(/^#\//, "").split("/");
  const found = path.reduce((place, part) => place?.[part], whole) ?? {};
  return { title: path.at(-1), ...found };
}

// A type in a few words, such as `list of text` or `whole number, 1 to 32`.
function describe(whole, given) {
  const shape = resolve(whole, given);
  const options = shape.oneOf ?? shape.anyOf;
  if (options) return options.map((option) => describe(whole, option)).join(" or ");
  const types = [shape.type ?? "anything"].flat();
  const names = { array: "list", boolean: "true or false", integer: "whole number", object: "object", string: "text" };
  const words = types.map((type) => {
    if (type === "array") return `list of ${describe(whole, shape.items)}`;
    if (type === "string" && shape.enum) return shape.enum.map((value) => `"${value}"`).join(", ");
    if (type === "string" && shape.format === "binary") return "bytes";
    return names[type] ?? type;
  });
  const bounds = [];
  if (shape.minimum !== undefined && shape.maximum !== undefined) bounds.push(`${shape.minimum} to ${shape.maximum}`);
  else if (shape.minimum !== undefined) bounds.push(`at least ${shape.minimum}`);
  else if (shape.maximum !== undefined) bounds.push(`at most ${shape.maximum}`);
  if (shape.maxLength !== undefined) bounds.push(`at most ${shape.maxLength} characters`);
  if (shape.minLength > 0) bounds.push("not empty");
  if (shape.maxItems !== undefined) bounds.push(`at most ${shape.maxItems} entries`);
  if (shape.pattern) bounds.push(`as ${shape.pattern}`);
  return [words.join(" or "), ...bounds].join(", ");
}

// The fields of a shape, as a list in lists.
function fields(whole, given, depth = 0) {
  const shape = resolve(whole, given);
  if (depth > MAX_DEPTH) return null;
  const options = shape.oneOf ?? shape.anyOf ?? shape.allOf;
  if (options) {
    const lists = options.map((option) => fields(whole, option, depth + 1)).filter(Boolean);
    if (lists.length === 0) return null;
    const between = shape.allOf ? [] : lists.slice(1);
    return make("div", {}, ...lists.flatMap((list, index) => (between.length && index ? ["or", list] : [list])));
  }
  if (shape.items) return fields(whole, shape.items, depth + 1);
  const entries = Object.entries(shape.properties ?? {});
  if (entries.length === 0) return null;
  const required = new Set(shape.required ?? []);
  const list = make("dl");
  for (const [name, field] of entries) {
    const told = resolve(whole, field);
    const need = required.has(name) ? make("b", {}, " required") : null;
    list.append(
      make("dt", {}, make("code", {}, name), make("span", { class: "type" }, ` ${describe(whole, field)}`), need),
      make("dd", {}, told.description ?? "", fields(whole, field, depth + 1)),
    );
  }
  return list;
}

function contents(whole, content) {
  return Object.entries(content ?? {}).flatMap(([type, { schema }]) => [
    make("p", {}, make("code", {}, type), ` ${describe(whole, schema)}`),
    fields(whole, schema),
  ]);
}

function parameters(whole, given) {
  const list = make("dl");
  for (const parameter of given) {
    const need = parameter.required ? make("b", {}, " required") : null;
    const type = ` in ${parameter.in}, ${describe(whole, parameter.schema)}`;
    list.append(
      make("dt", {}, make("code", {}, parameter.name), make("span", { class: "type" }, type), need),
      make("dd", {}, parameter.description ?? ""),
    );
  }
  return list;
}

function route(whole, path, method, operation) {
  const heading = make(
    "summary",
    {},
    make("span", { class: `method ${method}` }, method.toUpperCase()),
    make("code", {}, path),
    make("span", { class: "summary" }, operation.summary ?? ""),
  );
  const body = make("div", { class: "body" });
  if (operation.description) body.append(make("p", {}, operation.description));
  const security = operation.security ?? whole.security ?? [];
  const open = security.every((scheme) => Object.keys(scheme).length === 0);
  body.append(make("p", {}, open ? "For everybody." : "For who shows a key or a session."));
  if (operation.parameters?.length) body.append(make("h4", {}, "Parameters"), parameters(whole, operation.parameters));
  if (operation.requestBody) {
    body.append(make("h4", {}, "Body"), ...contents(whole, operation.requestBody.content).filter(Boolean));
  }
  body.append(make("h4", {}, "Answers"));
  for (const [status, answer] of Object.entries(operation.responses ?? {})) {
    const told = make("details", {}, make("summary", {}, make("code", {}, status), ` ${answer.description ?? ""}`));
    told.append(...contents(whole, answer.content).filter(Boolean));
    body.append(told);
  }
  const words = `${method} ${path} ${operation.summary ?? ""}`.toLowerCase();
  return make("details", { class: "route", id: operation.operationId ?? words, "data-words": words }, heading, body);
}

function show(whole) {
  find("about").textContent = `${whole.info.description ?? ""} Version ${whole.info.version}.`;
  const groups = new Map((whole.tags ?? []).map((tag) => [tag.name, { ...tag, routes: [] }]));
  for (const [path, item] of Object.entries(whole.paths)) {
    for (const method of METHODS.filter((method) => item[method])) {
      const [tag = "other"] = item[method].tags ?? [];
      if (!groups.has(tag)) groups.set(tag, { name: tag, routes: [] });
      groups.get(tag).routes.push(route(whole, path, method, item[method]));
    }
  }
  for (const { name, description, routes } of groups.values()) {
    if (routes.length === 0) continue;
    find("tags").append(make("a", { href: `#group-${name}` }, name), " ");
    const heading = make("h2", { id: `group-${name}` }, name);
    find("routes").append(make("section", {}, heading, make("p", {}, description ?? ""), ...routes));
  }
  const filter = () => {
    const words = find("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const section of document.querySelectorAll("section")) {
      let some = false;
      for (const element of section.querySelectorAll(".route")) {
        element.hidden = !words.every((word) => element.dataset.words.includes(word));
        some ||= !element.hidden;
        shown += element.hidden ? 0 : 1;
      }
      section.hidden = !some;
    }
    find("count").textContent = `${shown} routes`;
  };
  find("filter").addEventListener("input", filter);
  filter();
  const wanted = find(decodeURIComponent(location.hash.slice(1)));
  if (wanted instanceof HTMLDetailsElement) wanted.open = true;
  wanted?.scrollIntoView();
}

fetch("/openapi.json")
  .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(`status ${answer.status}`))))
  .then(show)
  .catch((error) => {
    find("routes").textContent = `/openapi.json cannot be shown: ${error.message}. Load the page again.`;
  });
