import { useRef, useState } from "preact/hooks";
import { post } from "../../../api/client.ts";
import { Confirm } from "../../../components/confirm.tsx";
import { IconUpload } from "../../../icons.ts";
import { Notice } from "../../../components/notice.tsx";
import { Dialog } from "../../../components/dialog.tsx";
import type { JsonObject } from "../../../json.ts";
import { t } from "../../../text/index.ts";
import { countValues, treeOf } from "./values.ts";

/** Replaces the stored settings with those of an exported file, after a question. */
export function ImportButton({ onDone }: { onDone: () => void }) {
  const input = useRef<HTMLInputElement>(null);
  const [tree, setTree] = useState<JsonObject | "invalid" | undefined>();
  const { configuration } = t.admin;
  const read = async (file: File | undefined) => {
    if (file) setTree(treeOf(await file.text()) ?? "invalid");
    // The same file can be chosen again.
    if (input.current) input.current.value = "";
  };
  const close = () => setTree(undefined);
  const replace = async (config: JsonObject) => {
    await post("/api/v1/configs/import", { body: { config } });
    onDone();
  };
  return (
    <>
      <button type="button" aria-label={configuration.import} onClick={() => input.current?.click()}>
        <IconUpload aria-hidden="true" />
        <span class="wide-only">{configuration.import}</span>
      </button>
      <input ref={input} type="file" hidden accept="application/json,.json" onChange={(event) => void read(event.currentTarget.files?.[0])} />
      {tree === "invalid" && (
        <Dialog title={configuration.import} onClose={close}>
          <Notice isBad>{configuration.notJson}</Notice>
        </Dialog>
      )}
      {tree !== undefined && tree !== "invalid" && (
        <Confirm title={configuration.importTitle} label={configuration.importButton} isDanger onConfirm={() => replace(tree)} onClose={close}>
          <p>{configuration.importHint(countValues(tree))}</p>
        </Confirm>
      )}
    </>
  );
}
