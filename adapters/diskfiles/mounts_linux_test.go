package diskfiles_test

import (
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/diskfiles"
)

// TestLocksOfOneMachine: of a folder on a network the nearest mount says whether its locks reach others.
func TestLocksOfOneMachine(t *testing.T) {
	const mounts = `21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 21 0:30 / /srv/nfs4 rw - nfs4 host:/a rw,vers=4.2,local_lock=none
31 21 0:31 / /srv/nfs rw - nfs host:/b rw,vers=3,nolock,local_lock=all
32 21 0:32 / /srv/a\040b rw - nfs4 host:/c rw,local_lock=flock
33 31 254:1 / /srv/nfs/disk rw - ext4 /dev/vdb rw,nolock
torn
34 21 0:34 / /srv/over rw - nfs host:/d rw,nolock
35 34 0:35 / /srv/over rw - nfs host:/d rw
`
	for dir, want := range map[string]string{"/": "", "/srv/nfs4/files": "", "/srv/nfs": "local_lock=all", "/srv/nfs/x/y": "local_lock=all", "/srv/nfs2": "", "/srv/a b/c": "local_lock=flock", "/srv/nfs/disk/x": "", "/srv/over/x": ""} {
		if got := diskfiles.Lonely(strings.NewReader(mounts), dir); got != want {
			t.Errorf("%s: got %q, want %q", dir, got, want)
		}
	}
}
