// Shows /openapi.json: groups, routes, fields and statuses. Inserts only text, never HTML.

const METHODS = ["get", "post", "put", "patch", "delete", "head", "options", "trace"];
// Depth of nested fields: a schema may contain itself.
const MAX_DEPTH = 6;

const find = (id) => document.getElementById(id);

function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function resolve(api, schema) {
  if (!schema || !schema.$ref) return schema ?? {};
  const path = schema.$ref.replace(/^#\//, "").split("/");
  const found = path.reduce((node, part) => node?.[part], api) ?? {};
  return { title: path.at(-1), ...found };
}

// A short description of a type, such as `list of text` or `integer, 1 to 32`.
function describe(api, schemaOrRef) {
  const schema = resolve(api, schemaOrRef);
  const options = schema.oneOf ?? schema.anyOf;
  if (options) return options.map((option) => describe(api, option)).join(" or ");
  const types = [schema.type ?? "any value"].flat();
  const typeNames = { array: "list", boolean: "boolean", integer: "integer", object: "object", string: "text" };
  const descriptions = types.map((type) => {
    if (type === "array") return `list of ${describe(api, schema.items)}`;
    if (type === "string" && schema.enum) return schema.enum.map((value) => `"${value}"`).join(", ");
    if (type === "string" && schema.format === "binary") return "bytes";
    return typeNames[type] ?? type;
  });
  const bounds = [];
  if (schema.minimum !== undefined && schema.maximum !== undefined) bounds.push(`${schema.minimum} to ${schema.maximum}`);
  else if (schema.minimum !== undefined) bounds.push(`at least ${schema.minimum}`);
  else if (schema.maximum !== undefined) bounds.push(`at most ${schema.maximum}`);
  if (schema.maxLength !== undefined) bounds.push(`at most ${schema.maxLength} characters`);
  if (schema.minLength > 0) bounds.push("not empty");
  if (schema.maxItems !== undefined) bounds.push(`at most ${schema.maxItems} entries`);
  if (schema.pattern) bounds.push(`matches ${schema.pattern}`);
  return [descriptions.join(" or "), ...bounds].join(", ");
}

// The fields of a schema, as nested lists.
function fields(api, schemaOrRef, depth = 0) {
  const schema = resolve(api, schemaOrRef);
  if (depth > MAX_DEPTH) return null;
  const options = schema.oneOf ?? schema.anyOf ?? schema.allOf;
  if (options) {
    const lists = options.map((option) => fields(api, option, depth + 1)).filter(Boolean);
    if (lists.length === 0) return null;
    return make("div", {}, ...lists.flatMap((list, index) => (index > 0 && !schema.allOf ? ["or", list] : [list])));
  }
  if (schema.items) return fields(api, schema.items, depth + 1);
  const entries = Object.entries(schema.properties ?? {});
  if (entries.length === 0) return null;
  const required = new Set(schema.required ?? []);
  const list = make("dl");
  for (const [name, field] of entries) {
    const resolved = resolve(api, field);
    const requiredMark = required.has(name) ? make("b", {}, " required") : null;
    list.append(
      make("dt", {}, make("code", {}, name), make("span", { class: "type" }, ` ${describe(api, field)}`), requiredMark),
      make("dd", {}, resolved.description ?? "", fields(api, field, depth + 1)),
    );
  }
  return list;
}

function contents(api, content) {
  return Object.entries(content ?? {}).flatMap(([type, { schema }]) => [
    make("p", {}, make("code", {}, type), ` ${describe(api, schema)}`),
    fields(api, schema),
  ]);
}

function parameters(api, described) {
  const list = make("dl");
  for (const parameter of described) {
    const requiredMark = parameter.required ? make("b", {}, " required") : null;
    const type = ` in ${parameter.in}, ${describe(api, parameter.schema)}`;
    list.append(
      make("dt", {}, make("code", {}, parameter.name), make("span", { class: "type" }, type), requiredMark),
      make("dd", {}, parameter.description ?? ""),
    );
  }
  return list;
}

function route(api, path, method, operation) {
  const heading = make(
    "summary",
    {},
    make("span", { class: `method ${method}` }, method.toUpperCase()),
    make("code", {}, path),
    make("span", { class: "summary" }, operation.summary ?? ""),
  );
  const body = make("div", { class: "body" });
  if (operation.description) body.append(make("p", {}, operation.description));
  const security = operation.security ?? api.security ?? [];
  const isPublic = security.every((scheme) => Object.keys(scheme).length === 0);
  body.append(make("p", {}, isPublic ? "Public." : "Requires an API key or a session."));
  if (operation.parameters?.length) body.append(make("h4", {}, "Parameters"), parameters(api, operation.parameters));
  if (operation.requestBody) {
    body.append(make("h4", {}, "Body"), ...contents(api, operation.requestBody.content).filter(Boolean));
  }
  body.append(make("h4", {}, "Responses"));
  for (const [status, response] of Object.entries(operation.responses ?? {})) {
    const details = make("details", {}, make("summary", {}, make("code", {}, status), ` ${response.description ?? ""}`));
    details.append(...contents(api, response.content).filter(Boolean));
    body.append(details);
  }
  const searchText = `${method} ${path} ${operation.summary ?? ""}`.toLowerCase();
  return make("details", { class: "route", id: operation.operationId ?? searchText, "data-search": searchText }, heading, body);
}

function show(api) {
  find("about").textContent = `${api.info.description ?? ""} Version ${api.info.version}.`;
  const groups = new Map((api.tags ?? []).map((tag) => [tag.name, { ...tag, routes: [] }]));
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of METHODS.filter((method) => item[method])) {
      const [tag = "other"] = item[method].tags ?? [];
      if (!groups.has(tag)) groups.set(tag, { name: tag, routes: [] });
      groups.get(tag).routes.push(route(api, path, method, item[method]));
    }
  }
  for (const { name, description, routes } of groups.values()) {
    if (routes.length === 0) continue;
    find("tags").append(make("a", { href: `#group-${name}` }, name), " ");
    const heading = make("h2", { id: `group-${name}` }, name);
    find("routes").append(make("section", {}, heading, make("p", {}, description ?? ""), ...routes));
  }
  const filter = () => {
    const terms = find("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    let visible = 0;
    for (const section of document.querySelectorAll("section")) {
      let hasVisible = false;
      for (const element of section.querySelectorAll(".route")) {
        element.hidden = !terms.every((term) => element.dataset.search.includes(term));
        hasVisible ||= !element.hidden;
        visible += element.hidden ? 0 : 1;
      }
      section.hidden = !hasVisible;
    }
    find("count").textContent = `${visible} routes`;
  };
  find("filter").addEventListener("input", filter);
  filter();
  const target = find(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
  target?.scrollIntoView();
}

fetch("/openapi.json")
  .then((response) => (response.ok ? response.json() : Promise.reject(new Error(`status ${response.status}`))))
  .then(show)
  .catch((error) => {
    find("routes").textContent = `cannot load /openapi.json: ${error.message}. Reload the page.`;
  });
