// One question at a time, and always the newest next.

/**
 * Ask `answer(question)` one after the other; what is asked meanwhile waits, and only the newest
 * of it. So answers come in the order of their questions, and an old one never follows a newer.
 */
export function latest(answer) {
  let waiting = null;
  let busy = false;

  async function work() {
    busy = true;
    while (waiting !== null) {
      const question = waiting;
      waiting = null;
      await answer(question, () => waiting);
    }
    busy = false;
  }

  return (question) => {
    waiting = question;
    if (!busy) work();
  };
}
