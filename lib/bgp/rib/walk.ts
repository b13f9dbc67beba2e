/** A walk over the rows of a table, in steps between which the table may grow. */
export class Walk {
  #at = 0;
  #end = 0;
  /** Rows below it are visited once more after those before the end. */
  #again = 0;

  /** Every row below `limit` is visited from now on; what a walk that is under way has behind it, once more. Rows that come later are not. */
  begin(limit: number): void {
    this.#again = this.active ? this.#at : 0;
    if (this.#again === 0) this.#at = 0;
    this.#end = limit;
  }

  get active(): boolean {
    return this.#at < this.#end || this.#again > 0;
  }

  /** The next row, or -1: all were visited. */
  next(): number {
    if (this.#at >= this.#end) {
      if (this.#again === 0) return -1;
      this.#at = 0;
      this.#end = this.#again;
      this.#again = 0;
    }
    return this.#at++;
  }
}
