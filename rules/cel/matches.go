package cel

// Matches returns an expression of type bool that is true if a shell glob matches a text. expr is the expression for the text, of type string.
func Matches(expr, pattern string) string { return glob(expr, pattern, true) }
