"""Classification: motive, cause and component; isolated or systemic; did the corrective action work?"""
