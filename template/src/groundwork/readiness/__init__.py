"""The scorecard: is the pilot ready to scale, what speaks against it, and who mends it?"""
