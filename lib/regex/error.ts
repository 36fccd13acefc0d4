/** Why a pattern cannot be used: what follows its name in an error message ("uses …", "is …"). */
export class RegexError extends Error {}
