// Run the script of verify.html, as it is in the file, on bundles: tests/ledger/proof/browser/test_verify_page.py.
import { readFileSync } from "node:fs";
import vm from "node:vm";

const [page, bundles] = process.argv.slice(2).map((path) => readFileSync(path, "utf8"));
const script = page.slice(page.indexOf("<script>") + "<script>".length, page.indexOf("</script>"));
const { crypto, TextEncoder, TextDecoder, atob, btoa } = globalThis;
const context = vm.createContext({ crypto, TextEncoder, TextDecoder, atob, btoa, Uint8Array, Uint32Array });
vm.runInContext(script, context);
for (const { bundle, keys } of JSON.parse(bundles)) {
  const result = await context.audit(Uint8Array.from(Buffer.from(bundle, "base64")), keys.join("\n"));
  console.log(JSON.stringify(result));
}
