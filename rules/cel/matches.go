package cel

// Matches is an expression of type bool: whether a shell glob matches a text, given as an expression of type string.
func Matches(expr, pattern string) string { return glob(expr, pattern, true) }
