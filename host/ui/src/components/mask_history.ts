// Undo and redo of a mask. Each step holds the pixels that it changed, and the oldest steps are dropped. No DOM.
import type { MaskBitmap, Rect } from "./mask_bitmap.ts";

/** Of all steps together. */
const MAX_HISTORY_BYTES = 128 * 1024 * 1024;

interface Step {
  rect: Rect;
  values: Uint8Array;
}

export class MaskHistory {
  private readonly undoable: Step[] = [];
  private readonly redoable: Step[] = [];
  private readonly maxBytes: number;

  constructor(maxBytes = MAX_HISTORY_BYTES) {
    this.maxBytes = maxBytes;
  }

  get canUndo(): boolean {
    return this.undoable.length > 0;
  }

  get canRedo(): boolean {
    return this.redoable.length > 0;
  }

  /** Notes a change: the pixels as they were before it. */
  note(rect: Rect, before: Uint8Array): void {
    if (rect.width === 0 || rect.height === 0) return;
    this.undoable.push({ rect, values: before });
    this.redoable.length = 0;
    let bytes = this.undoable.reduce((sum, step) => sum + step.values.length, 0);
    // The newest step stays, however large it is.
    while (bytes > this.maxBytes && this.undoable.length > 1) bytes -= this.undoable.shift()?.values.length ?? 0;
  }

  /** Returns the pixels that changed, if there was a step. */
  undo(mask: MaskBitmap): Rect | undefined {
    return swap(mask, this.undoable, this.redoable);
  }

  redo(mask: MaskBitmap): Rect | undefined {
    return swap(mask, this.redoable, this.undoable);
  }
}

function swap(mask: MaskBitmap, from: Step[], to: Step[]): Rect | undefined {
  const step = from.pop();
  if (!step) return undefined;
  to.push({ rect: step.rect, values: mask.copy(step.rect) });
  mask.paste(step.rect, step.values);
  return step.rect;
}
