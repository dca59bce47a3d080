import { useEffect, useRef, useState } from "preact/hooks";

/** Takes files that are dropped on the page, and images that are pasted into it. Returns whether files are held above it. */
export function useImageDrop(onFiles: (files: File[]) => void): boolean {
  const [isOver, setOver] = useState(false);
  const take = useRef(onFiles);
  take.current = onFiles;
  useEffect(() => {
    const onOver = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      // Otherwise the browser would leave the page and show the file.
      event.preventDefault();
      setOver(!isDialogOpen());
    };
    const onLeave = (event: DragEvent) => {
      // Only when the pointer leaves the window.
      if (event.relatedTarget === null) setOver(false);
    };
    const onDrop = (event: DragEvent) => {
      setOver(false);
      if (!hasFiles(event)) return;
      event.preventDefault();
      if (!isDialogOpen()) take.current([...(event.dataTransfer?.files ?? [])]);
    };
    const onPaste = (event: ClipboardEvent) => {
      const images = [...(event.clipboardData?.files ?? [])].filter((it) => it.type.startsWith("image/"));
      if (images.length === 0 || isDialogOpen()) return;
      event.preventDefault();
      take.current(images);
    };
    addEventListener("dragover", onOver);
    addEventListener("dragleave", onLeave);
    addEventListener("drop", onDrop);
    addEventListener("paste", onPaste);
    return () => {
      removeEventListener("dragover", onOver);
      removeEventListener("dragleave", onLeave);
      removeEventListener("drop", onDrop);
      removeEventListener("paste", onPaste);
    };
  }, []);
  return isOver;
}

function hasFiles({ dataTransfer }: DragEvent): boolean {
  return dataTransfer?.types.includes("Files") === true;
}

/** The sheet with the settings of a narrow window is a part of its page. */
function isDialogOpen(): boolean {
  return document.querySelector("dialog[open]:not(.bottom-sheet)") !== null;
}
