import { Page } from "../../../components/page.tsx";

export default function Placeholder() {
  return <Page title="admin/jobs">…</Page>;
}
