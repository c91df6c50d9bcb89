/**
 * Answers together what arrives together, in one turn of the event loop or while another batch is under way. Alone, an
 * item waits for the rest of the turn only.
 */
export class Batcher<Item, Answer> {
  private waiting: Waiting<Item, Answer>[] = [];
  private busy = false;

  /**
   * @param work answers a batch, in its order
   * @param most items in one batch
   */
  constructor(
    private readonly work: (items: Item[]) => Promise<Answer[]>,
    private readonly most = 64,
  ) {}

  add(item: Item): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ item, resolve, reject });
      if (this.busy) return;
      this.busy = true;
      // Not at once: the requests of one bundle reach us one after the other, in the same turn.
      setImmediate(() => void this.run());
    });
  }

  private async run(): Promise<void> {
    while (this.waiting.length > 0) {
      const batch = this.waiting.splice(0, this.most);
      if (!(await this.answer(batch)) && batch.length > 1) {
        // One bad item must not take the others down with it.
        for (const alone of batch) await this.answer([alone], true);
      }
    }
    this.busy = false;
  }

  private async answer(batch: Waiting<Item, Answer>[], last = batch.length === 1): Promise<boolean> {
    try {
      const answers = await this.work(batch.map((waiting) => waiting.item));
      batch.forEach((waiting, index) => waiting.resolve(answers[index]!));
      return true;
    } catch (error) {
      if (last) batch.forEach((waiting) => waiting.reject(error));
      return false;
    }
  }
}

interface Waiting<Item, Answer> {
  readonly item: Item;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}
