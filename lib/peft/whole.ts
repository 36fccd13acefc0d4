// Parameters of a model that a method changes as a whole, with their originals kept to be put back.

import { check } from '../errors.ts'
import { DTYPES, type DType, native } from '../native.ts'
import type { Parameter, Storage } from '../nn/module.ts'
import { Tensor } from '../tensor.ts'

/** What is trained is f32, or f64 on an f64 base. */
export function trainedDType(storage: Storage): DType {
  return storage === 'f64' ? 'f64' : 'f32'
}

/** A copy in another dtype, or in the same. */
export function cast(tensor: Tensor, dtype: DType): Tensor {
  return new Tensor(native.cast(tensor.handle, DTYPES.indexOf(dtype)))
}

/** Puts another tensor in a parameter's place and returns the one that was there, alive, with its gradient. */
export function exchange(parameter: Parameter, tensor: Tensor): Tensor {
  const old = parameter.tensor
  const held = old.view(0, old.shape).keep()
  held.requiresGrad = old.requiresGrad
  held.grad = old.grad
  parameter.replace(tensor)
  return held
}

/** Which adapter holds a parameter's place; two at once could not be undone in any order. */
const holders = new WeakMap<Parameter, string>()

/** Parameters with other tensors in their places, which can be taken out again. */
export class Substitution {
  readonly parameters: readonly Parameter[]
  readonly #holder: string
  /** What is out of place: the originals while it is on, the substitutes while it is off. */
  readonly #aside = new Map<Parameter, Tensor>()
  #isOn = true

  constructor(parameters: readonly Parameter[], holder: string, make: (parameter: Parameter) => Tensor) {
    this.parameters = parameters
    this.#holder = holder
    this.#claim()
    try {
      for (const parameter of parameters) this.#aside.set(parameter, exchange(parameter, make(parameter)))
    } catch (error) {
      this.end()
      throw error
    }
  }

  /** Whether the substitutes are in place. */
  get isOn(): boolean {
    return this.#isOn
  }

  set(on: boolean): void {
    if (on === this.#isOn) return
    if (on) this.#claim()
    for (const [parameter, tensor] of this.#aside) this.#aside.set(parameter, exchange(parameter, tensor))
    if (!on) this.#free()
    this.#isOn = on
  }

  /** Ends it: the originals are in place again, or with `keep` what was put there. */
  end(keep = false): void {
    this.set(keep)
    if (this.#isOn) this.#free()
    for (const tensor of this.#aside.values()) {
      // Its arena, if it had one, was disposed while this was off, and did not see it.
      tensor.grad?.dispose()
      tensor.dispose()
    }
    this.#aside.clear()
  }

  #claim(): void {
    for (const parameter of this.parameters) {
      const other = holders.get(parameter)
      check(other === undefined, 'ERR_OPTION', () => {
        return `attach: ${parameter.name} is held by adapter "${other}", "${this.#holder}" wants it too; switch that one off, or detach it`
      })
    }
    for (const parameter of this.parameters) holders.set(parameter, this.#holder)
  }

  #free(): void {
    for (const parameter of this.parameters) holders.delete(parameter)
  }
}
