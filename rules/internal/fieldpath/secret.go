package fieldpath

import "slices"

// secretKeys are the fields that often contain credentials in plain text.
var secretKeys = map[string]bool{
	"env": true, "envFrom": true, "args": true, "command": true, "annotations": true, "data": true, "stringData": true,
	"httpHeaders": true, "volumeAttributes": true, "options": true,
}

// IsSecretKey reports whether the values of a field are never shown.
func IsSecretKey(name string) bool { return secretKeys[name] }

// MayBeSecret reports whether the steps of a path lead through a field whose values are never shown.
func MayBeSecret(steps []Step) bool {
	return slices.ContainsFunc(steps, func(s Step) bool {
		return s.Kind == Keys && slices.ContainsFunc(SplitKeys(s.Keys), func(key string) bool { return secretKeys[KeyName(key)] })
	})
}
