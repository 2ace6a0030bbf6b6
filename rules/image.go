package rules

import "strings"

// effectiveTag is the tag by which a container runtime pulls an image: the tag of the reference, "latest" when it has neither a tag nor a
// digest, and none ("", true) when it has a digest, which takes precedence. It returns false for an invalid reference.
//
// The grammar is that of the OCI distribution project (github.com/distribution/reference):
//
//	[domain [":" port] "/"] path [":" tag] ["@" algorithm ":" hex]
func effectiveTag(image string) (string, bool) {
	_, tag, ok := parseImage(image)
	return tag, ok
}

// ImageTag returns the tag by which a container runtime pulls an image, as the operator imageTag reads it: empty for an image with a digest,
// and latest for one with neither. It returns false for an invalid reference.
func ImageTag(image string) (tag string, ok bool) { return effectiveTag(image) }

// parseImage splits a reference into its name and its effective tag.
func parseImage(image string) (name, tag string, ok bool) {
	name, digest, pinned := strings.Cut(image, "@")
	if pinned && !isDigest(digest) {
		return "", "", false
	}
	tag = "latest"
	// A colon before the last slash belongs to the port of the registry.
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		name, tag = name[:colon], name[colon+1:]
		if !isTag(tag) {
			return "", "", false
		}
	}
	if !isImageName(name) {
		return "", "", false
	}
	if pinned {
		tag = ""
	}
	return name, tag, true
}

const maxImageName = 255

func isImageName(name string) bool {
	if first, rest, ok := strings.Cut(name, "/"); ok && isDomain(first) {
		// The runtime takes "a/b" as a path on its default registry. If a is not a valid path component, it is a domain.
		name = rest
	}
	if name == "" || len(name) > maxImageName {
		return false
	}
	for component := range strings.SplitSeq(name, "/") {
		if !isPathComponent(component) {
			return false
		}
	}
	return true
}

// isDomain accepts a host name or an IP address (IPv6 in brackets), with or without a port.
func isDomain(text string) bool {
	host, port := text, ""
	if colon := strings.LastIndexByte(text, ':'); colon > strings.LastIndexByte(text, ']') {
		if host, port = text[:colon], text[colon+1:]; port == "" || !all(port, isDigit) {
			return false
		}
	}
	if strings.HasPrefix(host, "[") {
		inside, ok := strings.CutSuffix(host[1:], "]")
		return ok && inside != "" && all(inside, func(b byte) bool { return isHex(b) || b == ':' })
	}
	for label := range strings.SplitSeq(host, ".") {
		n := len(label)
		if n == 0 || label[0] == '-' || label[n-1] == '-' ||
			!all(label, func(b byte) bool { return isLower(b) || 'A' <= b && b <= 'Z' || isDigit(b) || b == '-' }) {
			return false
		}
	}
	return true
}

// isPathComponent accepts lower-case letters and digits, separated by one dot, one or two underscores, or any number of dashes.
func isPathComponent(text string) bool {
	for i := 0; i < len(text); {
		if !isLower(text[i]) && !isDigit(text[i]) {
			return false
		}
		for i < len(text) && (isLower(text[i]) || isDigit(text[i])) {
			i++
		}
		if i == len(text) {
			return true
		}
		separator := text[i]
		from := i
		for i < len(text) && text[i] == separator {
			i++
		}
		switch n := i - from; {
		case separator == '-', separator == '.' && n == 1, separator == '_' && n <= 2:
		default:
			return false
		}
	}
	return false // empty, or ends with a separator
}

func isTag(text string) bool {
	return text != "" && len(text) <= 128 && text[0] != '.' && text[0] != '-' &&
		all(text, func(b byte) bool {
			return isLower(b) || 'A' <= b && b <= 'Z' || isDigit(b) || b == '_' || b == '.' || b == '-'
		})
}

// isDigest accepts an algorithm, of parts joined by one of "+._-", and at least 32 hexadecimal digits.
func isDigest(text string) bool {
	algorithm, hex, ok := strings.Cut(text, ":")
	if !ok || len(hex) < 32 || !all(hex, isHex) {
		return false
	}
	start := true
	for i := range len(algorithm) {
		switch b := algorithm[i]; {
		case isLower(b) || 'A' <= b && b <= 'Z':
			start = false
		case isDigit(b):
			if start {
				return false
			}
		case !start && (b == '+' || b == '.' || b == '_' || b == '-'):
			start = true
		default:
			return false
		}
	}
	return !start
}

func isLower(b byte) bool { return 'a' <= b && b <= 'z' }
func isDigit(b byte) bool { return '0' <= b && b <= '9' }

func all(text string, is func(byte) bool) bool {
	for i := range len(text) {
		if !is(text[i]) {
			return false
		}
	}
	return true
}
