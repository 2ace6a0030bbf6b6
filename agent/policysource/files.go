package policysource

import (
	"context"
	"errors"
	"slices"

	"github.com/kube-devops/kube-devops/agent/reload"
	"github.com/kube-devops/kube-devops/policies"
)

// texts are the texts of files that were read together.
type texts map[string][]byte

func textsOf(contents reload.Contents) texts {
	t := make(texts, len(contents.Files))
	for i, file := range contents.Files {
		t[file] = contents.Texts[i]
	}
	return t
}

// errNotRead is the error of a file that is not among the texts.
var errNotRead = errors.New("the file is not read yet")

func (t texts) read(file, _ string) ([]byte, error) {
	if text, ok := t[file]; ok {
		return text, nil
	}
	return nil, errNotRead
}

// attempts is how often the files are read while they change.
const attempts = 5

// read reads all files of the policy together, so that those of one mounted directory are of the same generation. An error counts when it
// comes twice: a directory that changes while it is read causes false ones.
func (s *Source) read(ctx context.Context) (reload.Contents, error) {
	contents, err := s.readOnce(ctx)
	for range attempts {
		if err == nil || ctx.Err() != nil {
			break
		}
		before := err.Error()
		if contents, err = s.readOnce(ctx); err != nil && err.Error() == before {
			break
		}
	}
	return contents, err
}

// readOnce reads the files that the policy had the last time first, and again with each file that it finds, because which files a policy
// has is known only when they are read.
func (s *Source) readOnce(ctx context.Context) (reload.Contents, error) {
	first := s.firstFiles()
	files := s.files
	if files == nil {
		files = first
	}
	s.files = nil
	contents, err := readFiles(ctx, files)
	if err != nil && len(files) > len(first) { // the policy may no longer have the file that cannot be read
		contents, err = readFiles(ctx, first)
	}
	for err == nil {
		var used, missing []string
		if used, missing, err = s.find(contents, nil); err != nil {
			return reload.Contents{Files: used}, err
		}
		used = append(used, missing...)
		if len(missing) == 0 {
			s.files = used
			return keep(contents, used), nil
		}
		before := contents
		if contents, err = readFiles(ctx, used); err != nil {
			err = s.explain(ctx, before, missing, err)
		}
	}
	return reload.Contents{Files: contents.Files}, err
}

// firstFiles are the files that the policy has whatever they contain.
func (s *Source) firstFiles() []string {
	var files []string
	for _, policy := range s.policies {
		if _, ships := policies.Shipped(policy); !ships {
			files = append(files, policy)
		}
	}
	if s.waivers != "" {
		files = append(files, s.waivers)
	}
	return files
}

func readFiles(ctx context.Context, files []string) (reload.Contents, error) {
	read, err := reload.Read(ctx, files...)
	return reload.Contents{Files: files, Texts: read}, err
}

// explain returns an error about a file that a table extends with the line that names it.
func (s *Source) explain(ctx context.Context, contents reload.Contents, missing []string, err error) error {
	failed := make(map[string]error)
	for _, file := range missing {
		if read, err := reload.Read(ctx, file); err != nil {
			failed[file] = err
		} else {
			contents = reload.Contents{Files: append(slices.Clone(contents.Files), file), Texts: append(slices.Clone(contents.Texts), read[0])}
		}
	}
	if _, _, explained := s.find(contents, failed); explained != nil {
		return explained
	}
	return err
}

// find returns the files that the policy has according to what is read of it: those that are read, and those that are missing. One that
// failed is an error where a table extends it.
func (s *Source) find(contents reload.Contents, failed map[string]error) (used, missing []string, err error) {
	known := textsOf(contents)
	used = s.firstFiles()
	_, err = policies.Resolve(func(file, folder string) ([]byte, error) {
		if folder != "" {
			// The folder may change after this check, but who can change it can change the policy, too.
			f, err := policies.Inside(reload.Mounted(file), folder)
			if err != nil {
				used = append(used, file) // its change may repair the policy
				return nil, err
			}
			_ = f.Close() // nothing was read
		}
		text, ok := known[file]
		switch {
		case failed[file] != nil:
			return nil, failed[file]
		case !ok:
			missing = append(missing, file)
			return nil, errNotRead
		case !slices.Contains(used, file):
			used = append(used, file)
		}
		return text, nil
	}, s.policies...)
	if len(missing) > 0 {
		err = nil
	}
	return used, missing, err
}

// keep returns the contents of some files.
func keep(contents reload.Contents, files []string) reload.Contents {
	all := textsOf(contents)
	kept := reload.Contents{Files: files}
	for _, file := range files {
		kept.Texts = append(kept.Texts, all[file])
	}
	return kept
}
