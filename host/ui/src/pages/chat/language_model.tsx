import { t } from "../../text/index.ts";
import { languageModel, setModel } from "./choices.ts";
import { chatModels } from "./engines.ts";

/** The language model that writes the responses, if there is a choice. */
export function LanguageModelChip() {
  const models = chatModels.value ?? [];
  const chosen = languageModel.value;
  if (!chosen) return null;
  if (models.length === 1) return <span class="chip model-chip truncate wide-only">{chosen.name}</span>;
  return (
    <label class="chip select-chip model-chip">
      <span class="visually-hidden">{t.chat.languageModel}</span>
      <select value={chosen.id} onChange={(event) => setModel(event.currentTarget.value)}>
        {models.map((it) => (
          <option key={it.id} value={it.id}>
            {it.name}
          </option>
        ))}
      </select>
    </label>
  );
}
