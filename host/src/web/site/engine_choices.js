// Open WebUI's page Images has a fixed list of engines and requires a model. This adds the engines of this server to
// its lists, and makes the model optional.
(() => {
  const ENGINES = "/api/v1/images/engines";
  let engines;

  const loadEngines = async () => {
    const token = localStorage.getItem("token");
    const response = await fetch(ENGINES, { headers: token ? { authorization: `Bearer ${token}` } : {} });
    return response.ok ? response.json() : [];
  };

  const isEngineList = (names) => ["openai", "comfyui", "gemini"].every((name) => names.has(name));

  const completeList = async (select) => {
    const names = () => new Set([...select.options].map((option) => option.value));
    if (!isEngineList(names()) || select.dataset.engines) return;
    // The list of engines that edit has no AUTOMATIC1111.
    const forEdits = !names().has("automatic1111");
    select.dataset.engines = "complete";
    if (forEdits && !names().has("")) select.add(new Option("The one that generates", ""), 0);
    engines ??= loadEngines().catch(() => []);
    for (const { name, can_edit } of await engines) {
      if (!names().has(name) && (can_edit || !forEdits)) select.add(new Option(name, name));
    }
  };

  const update = () => {
    document.querySelectorAll("select").forEach(completeList);
    for (const input of document.querySelectorAll("input[list=model-list][required]")) input.required = false;
  };

  new MutationObserver(update).observe(document, { childList: true, subtree: true });
})();
