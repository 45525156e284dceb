/// Text for the benchmarks' prompts: ordinary prose, since what a model is fed decides what it has to do.
enum Texts {
    static let workshop = """
        The workshop stood at the end of the lane, where the pavement gave way to gravel and the gravel to grass. In the \
        morning the light came through the high windows and fell on the anvil, which had been there longer than anyone \
        could remember. It had been brought from another town on a cart drawn by two oxen, and it had taken six men and \
        most of a day to set it on its block of oak. The smith who used it first made hinges and nails; the one after \
        him made ploughs; and the one who worked there now made whatever people asked for, as long as they were not in \
        a hurry. She kept her tools on the north wall in the order of their size. Every tool had a hook and every hook \
        had a number, and when a tool was not on its hook she could say where it was and who had borrowed it. Visitors \
        thought this strange until they needed something, and then they thought it clever. On the south wall there was \
        a map of the valley with the river drawn in blue ink, the mill, the bridge that had been swept away and built \
        again, and a red line that showed how far the water had come in the year of the flood.
        """
    static let river = """
        Rivers do not stay where they are put. Over a few hundred years a river in a flat valley moves from one side to \
        the other, cutting away the outer bank of every bend and leaving sand and gravel on the inner one. When two \
        bends come close enough the water breaks through between them, and the loop that is left behind becomes a lake \
        in the shape of a horn. Farmers have always known this, which is why old villages stand on the higher ground \
        and why the fields near the water belong to nobody in particular. Engineers have tried to hold rivers in place \
        with walls of stone and concrete. Sometimes it works for a long time. But a river that is made straight runs \
        faster, and a river that runs faster digs deeper, and a river that digs deeper undermines the very walls that \
        were built to hold it. In recent decades many towns have given some land back to the water: they moved the \
        walls away from the banks, let the meadows flood in spring, and found that the floods downstream grew smaller.
        """
    static let bread = """
        Bread needs four things: flour, water, salt and time. The first three are cheap. Flour and water make gluten, a \
        net of protein that holds the gas which the yeast gives off; salt makes the net stronger and the yeast slower; \
        and time does almost everything else. A dough that rises slowly in a cool place tastes better than one that \
        rises fast in a warm one, because there is more to taste: acids, alcohols, and the sugars that turn brown in the \
        oven. Bakers speak of the weight of water as a share of the weight of flour. At sixty per cent the dough is firm \
        and easy to shape; at seventy it is soft; at eighty it runs across the table, and whoever works it must fold it \
        instead of kneading it. The oven should be hotter than seems wise. Steam in the first ten minutes keeps the \
        crust soft, so that the loaf can grow, and after that the crust should dry and crack and sing.
        """
    static let letter = """
        Dear Miriam, thank you for the parcel, which arrived on Tuesday. The blue scarf is exactly right and the jam did \
        not leak at all. We have had rain for nine days, so the children have built a ship in the living room out of \
        chairs and the good blankets, and nobody is allowed to sit anywhere without saying the password. Our neighbour's \
        goat has learned to open the gate. She does not go far: she walks to the baker's, looks through the window, and \
        walks home again, and the baker says that she is a better customer than some people he could name. Your brother \
        writes that the new job is harder than he thought and better than he feared. I hope that you will come in the \
        spring, when the road is dry, and stay for at least two weeks this time. With love from all of us, Hanna.
        """
    /// Different beginnings, for several sequences together.
    static let all = [
        workshop, river, bread, letter,
        "The three most important inventions of the nineteenth century were",
        "To change the tyre of a bicycle, you first",
        "Once upon a time there was a king who had three daughters, and each of them",
        "The difference between weather and climate is that",
    ]

    /// A task whose answer repeats most of what it was given.
    static let edit = """
        Copy the following text word for word, but write "forge" wherever it says "workshop".

        \(workshop)
        """
}
