// careplane's Rust, as WebAssembly. The page has it inside, compressed.

import init, {__wbg_reset_state as reset, look} from '../build/careplane_playground.js';

/** Starts it, and returns the function that answers questions (`playground/src/lib.rs`). */
export async function engine(base64) {
  const packed = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
  await init({module_or_path: await new Response(unpacked).arrayBuffer()});
  return (question) => {
    try {
      return JSON.parse(look(JSON.stringify(question)));
    } catch (error) {
      // What panicked may be in any state.
      reset();
      return {findings: [], problem: `This is a bug of careplane: ${error}`};
    }
  };
}
