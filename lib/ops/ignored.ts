/** Target of a position that no loss looks at, as in PyTorch. */
export const IGNORED = -100
