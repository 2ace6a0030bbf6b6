// Package reload notices changes of files that are mounted from a ConfigMap or edited by hand, and reads them completely. It
// must not know what the files hold: whether they are valid is for its caller to decide.
//
// It polls. The kubelet changes a mounted directory by a symbolic link, which file events report differently on each file
// system and kind of mount, or not at all; a poll takes less than a millisecond and misses nothing. Names, sizes and times of
// the files are polled four times a second. Their content is read when these change, and regularly in between.
package reload
