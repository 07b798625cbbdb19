"""Updates of the pilot to a newer template: tried in a worktree, described, and committed to a branch on request."""
