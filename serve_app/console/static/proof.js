// Checks a decision's proof here, in the browser, from the bytes of its entry.
// RFC 6962 (tree), C2SP signed note and checkpoint, Ed25519. Green only when every step held.
"use strict";
(async () => {
  const panel = document.getElementById("proof");
  const verdict = document.getElementById("verdict");
  const steps = document.getElementById("steps");
  const text = new TextDecoder("utf-8", { fatal: true });

  const conclude = (kind, words) => {
    verdict.className = `verdict ${kind}`;
    verdict.textContent = words;
  };
  const held = (words) => {
    const item = document.createElement("li");
    item.textContent = `✓ ${words}`;
    steps.append(item);
  };
  class Broken extends Error {}
  const require = (is, words) => {
    if (!is) throw new Broken(words);
  };

  const bytesOf = (base64) => Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
  const base64Of = (bytes) => btoa(String.fromCharCode(...bytes));
  const equal = (one, other) => one.length === other.length && one.every((byte, at) => byte === other[at]);
  const joined = (...parts) => Uint8Array.from(parts.flatMap((part) => [...part]));
  const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const node = (left, right) => sha256(joined([1], left, right));

  // RFC 9162, 2.1.3.2
  async function rootOf(leaf, index, size, path) {
    require(Number.isSafeInteger(index) && index >= 0 && index < size, "the leaf is not inside the tree");
    let fn = BigInt(index), sn = BigInt(size) - 1n, root = leaf;
    for (const hash of path) {
      require(hash.length === 32 && sn > 0n, "the path does not fit the tree");
      if (fn & 1n || fn === sn) {
        root = await node(hash, root);
        while (!(fn & 1n) && fn > 0n) { fn >>= 1n; sn >>= 1n; }
      } else {
        root = await node(root, hash);
      }
      fn >>= 1n;
      sn >>= 1n;
    }
    require(sn === 0n, "the path is too short");
    return root;
  }

  function parsed(note) {
    const at = note.lastIndexOf("\n\n");
    require(at > 0 && note.endsWith("\n"), "the checkpoint is no signed note");
    const body = note.slice(0, at + 1);
    const lines = body.split("\n");
    require(lines.length === 4 && /^(0|[1-9][0-9]*)$/.test(lines[1]), "the checkpoint is not origin, size and root");
    return {
      body, origin: lines[0], size: Number(lines[1]), root: bytesOf(lines[2]),
      signatures: note.slice(at + 2).trimEnd().split("\n").map((line) => /^— (\S+) (\S+)$/.exec(line)).filter(Boolean),
    };
  }

  // Returns the id of a key that signed; false when this browser knows no Ed25519.
  async function signer(checkpoint, keys) {
    for (const key of keys) {
      const [, name, id, material] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(key) || [];
      const raw = material ? bytesOf(material) : [];
      require(raw.length === 33 && raw[0] === 1, "a key of the bus is no Ed25519 key");
      const own = (await sha256(joined(new TextEncoder().encode(`${name}\n`), raw))).slice(0, 4);
      require([...own].map((byte) => byte.toString(16).padStart(2, "0")).join("") === id, "a key has not the id it says");
      require(name === checkpoint.origin, "the key belongs to another log");
      for (const [, by, encoded] of checkpoint.signatures) {
        const blob = bytesOf(encoded);
        if (by !== name || !equal(blob.slice(0, 4), own)) continue;
        let known;
        try {
          known = await crypto.subtle.importKey("raw", raw.slice(1), { name: "Ed25519" }, false, ["verify"]);
        } catch (error) {
          if (error.name === "NotSupportedError") return false;
          throw error;
        }
        const holds = await crypto.subtle.verify({ name: "Ed25519" }, known, blob.slice(4), new TextEncoder().encode(checkpoint.body));
        require(holds, `the signature of ${name}+${id} does not fit the checkpoint`);
        return `${name}+${id}`;
      }
    }
    throw new Broken("none of the bus's keys signed the checkpoint");
  }

  async function included(part, what) {
    const entry = bytesOf(part.entry);
    const leaf = await sha256(joined([0], entry));
    require(base64Of(leaf) === part.leaf_hash, `${what}: the entry is not the one that was hashed`);
    const checkpoint = parsed(part.checkpoint);
    require(checkpoint.size === part.tree_size, `${what}: the checkpoint is of another size`);
    const root = await rootOf(leaf, part.leaf_index, checkpoint.size, part.hashes.map(bytesOf));
    require(equal(root, checkpoint.root), `${what}: the path leads to another root than the signed one`);
    held(`${what}: leaf ${part.leaf_index} of ${checkpoint.size}, path of ${part.hashes.length} hash(es), leads to the signed root`);
    return { entry, leaf, checkpoint };
  }

  function compare(entry) {
    const { kind, decision } = JSON.parse(text.decode(entry)).body;
    require(kind === "decision" && decision.decision_id === panel.dataset.decision, "the entry is about something else");
    const shown = [...document.querySelectorAll("[data-fact]")];
    for (const item of shown) {
      const said = decision[item.dataset.fact];
      const value = Array.isArray(said) ? said.join(", ") : String(said ?? "");
      // The page shows characters that hide as \u202e, so both sides are read that way.
      require(plain(item.textContent) === plain(value), `the page shows another ${item.dataset.fact} than the signed entry`);
    }
    held(`The ${shown.length} fields on this page are those of the entry`);
  }
  const plain = (words) => words.replace(/\\u([0-9a-f]{4})|\\U([0-9a-f]{8})/g, (whole, short, long) => {
    const code = parseInt(short || long, 16);
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });

  // Returns whether there is nothing to wait for any more.
  async function check() {
    steps.replaceChildren();
    const answer = await fetch(panel.dataset.proof, { headers: { Accept: "application/json" } });
    if (!answer.ok) {
      conclude("warn", answer.status === 503 ? "The signed tree has not taken it in yet; reload in a second." : `The bus gives no proof (${answer.status}).`);
      return answer.status !== 503;
    }
    const { proof, keys, root_keys: rootKeys } = await answer.json();
    const tenant = await included(proof, "Your tenant's log");
    require(base64Of(tenant.leaf) === document.getElementById("leaf").textContent, "the receipt names another leaf");
    compare(tenant.entry);
    let signed = await signer(tenant.checkpoint, keys);
    if (signed) held(`Signed by ${signed}`);
    if (proof.root) {
      const root = await included(proof.root, "The root log");
      require(text.decode(root.entry) === proof.checkpoint, "the root log holds another checkpoint");
      const by = await signer(root.checkpoint, rootKeys);
      if (by) held(`Signed by ${by}`);
      signed = signed && by;
    }
    if (!signed) conclude("warn", "In the tree, but this browser knows no Ed25519: the signature is not checked. acgs ledger check does.");
    else if (!proof.root) conclude("good", "Verified in this browser; the root log does not cover it yet");
    else conclude("good", "Verified in this browser");
    return Boolean(proof.root);
  }

  if (!window.crypto || !crypto.subtle) {
    conclude("warn", "Not checked: browsers have cryptography on https and on this machine only.");
    return;
  }
  conclude("", "Checking");
  try {
    // The tree takes entries in within a second, and the root log follows.
    for (let rest = 5; !(await check()) && rest > 0; rest -= 1) {
      await new Promise((go) => setTimeout(go, 1000));
    }
  } catch (error) {
    conclude("bad", error instanceof Broken ? `Does not verify: ${error.message}.` : `Does not verify: the proof cannot be read (${error.message}).`);
  }
})();
